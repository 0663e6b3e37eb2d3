"""Feature flags of this process, kept up to date by a background thread.

Reading the flags never blocks: `now` returns the last value read, or `NONE` if that value is too old.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from paperbroker.errors import FlagsUnavailable
from paperbroker.logs import Log

STORE_DELAY_MS_MAX = 10_000
# Flags that could not be read for this time, or this many polls, are off: a fault that cannot be switched off from
# outside must end by itself.
KEPT_S = 60.0
KEPT_POLLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """`store_delay_ms` delays each store call of intake, to simulate a slow store."""

    store_delay_ms: int = 0


NONE = Flags()


class Source(Protocol):
    def read(self) -> bytes: ...


def parse(content: bytes) -> Flags:
    """Parse a configuration; ignore unknown names. Raises FlagsUnavailable if the content is not valid."""
    try:
        found = json.loads(content)
    except ValueError as exc:
        raise FlagsUnavailable(f"flags are not JSON: {content[:100]!r}") from exc
    delay_ms = found.get("storeDelayMs", 0) if isinstance(found, dict) else None
    if not isinstance(delay_ms, int) or isinstance(delay_ms, bool) or not 0 <= delay_ms <= STORE_DELAY_MS_MAX:
        raise FlagsUnavailable(f"storeDelayMs must be an integer from 0 to {STORE_DELAY_MS_MAX}: {content[:100]!r}")
    return Flags(store_delay_ms=delay_ms)


class FlagWatch:
    """Poll the source every `poll_s` seconds until stopped. `now` may be called at any time from any thread."""

    def __init__(self, source: Source, poll_s: float, log: Log, now_s: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._poll_s = poll_s
        self._kept_s = max(KEPT_S, KEPT_POLLS * poll_s)
        self._log = log
        self._now_s = now_s
        self._flags = NONE
        self._read_at_s = now_s()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flags", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Signal the thread to stop. It may still be inside a call; it is a daemon thread and holds no resources."""
        self._stopping.set()

    def now(self) -> Flags:
        """Return the current flags."""
        if self._flags is not NONE and self._now_s() - self._read_at_s > self._kept_s:
            return NONE
        return self._flags

    def store_delay_s(self) -> float:
        return self.now().store_delay_ms / 1000

    def poll(self) -> None:
        """Read the source once; keep the current flags if that fails."""
        try:
            content = self._source.read()
            flags = parse(content) if content else self._flags
        except FlagsUnavailable as exc:
            self._log.warning("flags.unavailable", error=str(exc))
            return
        self._read_at_s = self._now_s()
        if flags != self._flags:
            self._log.info("flags.changed", store_delay_ms=flags.store_delay_ms)
        self._flags = flags

    def _run(self) -> None:
        self.poll()
        while not self._stopping.wait(self._poll_s):
            self.poll()
