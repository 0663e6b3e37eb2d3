"""Read feature flags from AppConfig through one configuration session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paperbroker.errors import FlagsUnavailable
from paperbroker.settings import FlagSource
from paperbroker.storage.clients import unavailable_as

if TYPE_CHECKING:
    from botocore.client import BaseClient

POLL_S_MIN = 15  # The shortest interval that AppConfig allows. Its default is 60 s.


class FlagSession:
    """A configuration session of AppConfig, for one caller. Not thread-safe."""

    def __init__(self, appconfigdata: BaseClient, source: FlagSource) -> None:
        self._appconfigdata: Any = appconfigdata
        self._source = source
        self._token = ""

    def read(self) -> bytes:
        """Return the configuration; b"" if it has not changed since the last read.

        Raises FlagsUnavailable. The next read then starts a new session, because a token can be used only once.
        """
        token, self._token = self._token, ""
        with unavailable_as(FlagsUnavailable, "GetLatestConfiguration"):
            answer = self._appconfigdata.get_latest_configuration(ConfigurationToken=token or self._start())
            content: bytes = answer["Configuration"].read()
        self._token = answer["NextPollConfigurationToken"]
        return content

    def _start(self) -> str:
        source = self._source
        answer = self._appconfigdata.start_configuration_session(
            ApplicationIdentifier=source.application,
            EnvironmentIdentifier=source.environment,
            ConfigurationProfileIdentifier=source.profile,
            RequiredMinimumPollIntervalInSeconds=max(POLL_S_MIN, int(source.poll_s)),
        )
        return answer["InitialConfigurationToken"]
