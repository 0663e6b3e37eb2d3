"""Feature flags: what is switched on in this process, kept up to date by a thread of its own.

Owns the flags' names, bounds and age. Must not know AppConfig; the source is whatever has `read`. Nobody waits for
flags: whoever asks gets what was read last, and `NONE` if that is too old or nothing was ever read.
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
# Flags that cannot be read for so long, or so many looks, are off: a fault that nobody can end must end by itself.
KEPT_S = 60.0
KEPT_LOOKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """`store_delay_ms`: how long each store call of intake is held up, as if the store were slow."""

    store_delay_ms: int = 0


NONE = Flags()


class Source(Protocol):
    def read(self) -> bytes: ...


def parse(content: bytes) -> Flags:
    """The flags in a configuration; unknown names are left to others. FlagsUnavailable if it holds none."""
    try:
        found = json.loads(content)
    except ValueError as exc:
        raise FlagsUnavailable(f"flags are not JSON: {content[:100]!r}") from exc
    delay_ms = found.get("storeDelayMs", 0) if isinstance(found, dict) else None
    if not isinstance(delay_ms, int) or isinstance(delay_ms, bool) or not 0 <= delay_ms <= STORE_DELAY_MS_MAX:
        raise FlagsUnavailable(f"storeDelayMs must be an integer from 0 to {STORE_DELAY_MS_MAX}: {content[:100]!r}")
    return Flags(store_delay_ms=delay_ms)


class FlagWatch:
    """Reads every `poll_s` until stopped; `now` at any time, from any thread."""

    def __init__(self, source: Source, poll_s: float, log: Log, now_s: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._poll_s = poll_s
        self._kept_s = max(KEPT_S, KEPT_LOOKS * poll_s)
        self._log = log
        self._now_s = now_s
        self._flags = NONE
        self._read_at_s = now_s()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flags", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The thread may be within a call: it is a daemon and holds nothing."""
        self._stopping.set()

    def now(self) -> Flags:
        """The flags as of now."""
        if self._flags is not NONE and self._now_s() - self._read_at_s > self._kept_s:
            return NONE
        return self._flags

    def store_delay_s(self) -> float:
        return self.now().store_delay_ms / 1000

    def look(self) -> None:
        """Read once; what cannot be read changes nothing."""
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
        self.look()
        while not self._stopping.wait(self._poll_s):
            self.look()
