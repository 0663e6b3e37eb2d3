"""Feature flags: parsing, how long the last known flags are used, and reading them from AppConfig."""

from __future__ import annotations

import logging
import time

import pytest

from paperbroker.errors import FlagsUnavailable, SettingsError
from paperbroker.logs import Log
from paperbroker.services.flags import KEPT_S, STORE_DELAY_MS_MAX, Flags, FlagWatch, parse
from paperbroker.settings import FlagSource, from_environment
from paperbroker.storage.clients import Clients
from paperbroker.storage.flags import FlagSession
from tests.paperbroker.feature_flags import FlagStore
from tests.paperbroker.paperbroker_rig import REGION, environment

LOG = Log(logging.getLogger("test"))


@pytest.mark.parametrize(
    ("content", "delay_ms"), [(b'{"storeDelayMs": 1500}', 1500), (b"{}", 0), (b'{"storeDelayMs": 0, "later": [1]}', 0)]
)
def test_known_flags_are_parsed_and_unknown_names_ignored(content: bytes, delay_ms: int):
    assert parse(content) == Flags(store_delay_ms=delay_ms)


@pytest.mark.parametrize(
    "content",
    [
        b"no json",
        b"[]",
        b'{"storeDelayMs": "1500"}',
        b'{"storeDelayMs": true}',
        b'{"storeDelayMs": -1}',
        b'{"storeDelayMs": %d}' % (STORE_DELAY_MS_MAX + 1),
    ],
)
def test_invalid_flags_are_refused(content: bytes):
    with pytest.raises(FlagsUnavailable):
        parse(content)


class ScriptedSource:
    """A source that returns or raises `next`."""

    def __init__(self) -> None:
        self.next: bytes | FlagsUnavailable = b"{}"

    def read(self) -> bytes:
        if isinstance(self.next, FlagsUnavailable):
            raise self.next
        return self.next


def test_last_known_flags_expire():
    """An unchanged (empty), invalid or failed read keeps them; too long without a good read switches all off."""
    source, now = ScriptedSource(), [0.0]
    watch = FlagWatch(source, 15.0, LOG, now_s=lambda: now[0])
    assert watch.now() == Flags()
    source.next = b'{"storeDelayMs": 700}'
    watch.poll()
    for answer in (b"", b"garbage", FlagsUnavailable("gone")):
        source.next = answer
        now[0] += KEPT_S / 4
        watch.poll()
        assert watch.store_delay_s() == 0.7
    now[0] += KEPT_S
    assert watch.store_delay_s() == 0.0
    source.next = b'{"storeDelayMs": 700}'
    watch.poll()
    assert watch.store_delay_s() == 0.7


def test_flags_do_not_expire_within_a_long_poll_interval():
    source, now = ScriptedSource(), [0.0]
    watch = FlagWatch(source, 600.0, LOG, now_s=lambda: now[0])
    source.next = b'{"storeDelayMs": 700}'
    watch.poll()
    now[0] += 601
    assert watch.store_delay_s() == 0.7


@pytest.fixture
def session(aws: str, flag_store: FlagStore, in_aws_env: None) -> FlagSession:
    ids = flag_store.env
    source = FlagSource(
        application=ids["PB_FLAGS_APPLICATION"],
        environment=ids["PB_FLAGS_ENVIRONMENT"],
        profile=ids["PB_FLAGS_PROFILE"],
        poll_s=1.0,
    )
    return FlagSession(Clients(REGION).make("appconfigdata", attempts=1), source)


def test_session_returns_deployed_flags_and_nothing_if_they_are_unchanged(session: FlagSession, flag_store: FlagStore):
    flag_store.deploy(0)
    assert parse(session.read()) == Flags()
    assert session.read() == b""
    flag_store.deploy(1500)
    assert parse(session.read()) == Flags(store_delay_ms=1500)


def test_a_new_session_starts_after_a_failure(session: FlagSession, flag_store: FlagStore):
    """A token that AppConfig no longer accepts costs one failed read."""
    flag_store.deploy(300)
    assert session.read()
    session._token = "expired"
    with pytest.raises(FlagsUnavailable):
        session.read()
    assert parse(session.read()) == Flags(store_delay_ms=300)


def test_unreachable_appconfig_does_not_stop_the_watch(monkeypatch: pytest.MonkeyPatch):
    """Its thread keeps running, and the flags are off."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    source = FlagSource(application="a", environment="e", profile="p", poll_s=0.01)
    watch = FlagWatch(FlagSession(Clients(REGION).make("appconfigdata", attempts=1), source), 0.01, LOG)
    watch.start()
    time.sleep(0.1)
    assert watch.store_delay_s() == 0.0
    assert watch._thread.is_alive()
    watch.stop()


def test_environment_names_all_ids_of_the_flags_or_none():
    flags = {"PB_FLAGS_APPLICATION": "a", "PB_FLAGS_ENVIRONMENT": "e", "PB_FLAGS_PROFILE": "p"}
    assert from_environment(environment()).flags is None
    assert from_environment(environment(**dict.fromkeys(flags, ""))).flags is None
    assert from_environment(environment(**flags)).flags == FlagSource(
        application="a", environment="e", profile="p", poll_s=15.0
    )
    with pytest.raises(SettingsError, match="PB_FLAGS_PROFILE"):
        from_environment(environment(**flags | {"PB_FLAGS_PROFILE": ""}))
    with pytest.raises(SettingsError, match="PB_FLAGS_POLL_S"):
        from_environment(environment(**flags, PB_FLAGS_POLL_S="0"))
