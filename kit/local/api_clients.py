"""Create botocore clients of the local AWS for services that call APIs themselves."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import botocore.session

CONNECT_S_MAX = 2
CLIENTS_KEPT_MAX = 64


class ApiClients:
    """The clients of one service, by the API, the account and the Region. They may be used by many threads.

    Without `is_validating`, the called service and not the client finds what is wrong with the parameters.
    """

    def __init__(
        self, endpoint: str, secret: str, *, attempts_max: int, connections_max: int = 10, is_validating: bool = True
    ) -> None:
        self._endpoint = endpoint
        self._secret = secret
        self._attempts_max = attempts_max
        self._is_validating = is_validating
        self._connections_max = connections_max
        self._session: botocore.session.Session | None = None
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._creating = threading.Lock()

    def client(self, service: str, account: str, region: str, *, read_s_max: float) -> Any:
        """Return a client. Creating one takes up to a second: not on the event loop. Raises UnknownServiceError."""
        key = (service, account, region)
        with self._creating:
            if key not in self._clients:
                if len(self._clients) >= CLIENTS_KEPT_MAX:
                    self._clients.pop(next(iter(self._clients)))
                self._clients[key] = self._create(service, account, region, read_s_max)
            return self._clients[key]

    def _create(self, service: str, account: str, region: str, read_s_max: float) -> Any:
        # Imported late, because a server that calls nothing does not need it.
        import botocore.session
        from botocore.config import Config

        if self._session is None:
            # The user's own AWS configuration must not reach these clients.
            self._session = botocore.session.Session(
                session_vars={"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
            )
        settings = Config(
            connect_timeout=CONNECT_S_MAX,
            read_timeout=read_s_max,
            max_pool_connections=self._connections_max,
            retries={"mode": "standard", "total_max_attempts": self._attempts_max},
            proxies={},
            parameter_validation=self._is_validating,
            inject_host_prefix=False,
            # A client that asks for checksums would show them to states that did not.
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        )
        return self._session.create_client(
            service,
            region_name=region,
            endpoint_url=self._endpoint,
            # A key of twelve digits selects the account; no task has such a key.
            aws_access_key_id=account,
            aws_secret_access_key=self._secret,
            config=settings,
        )
