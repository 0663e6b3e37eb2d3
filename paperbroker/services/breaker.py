"""A circuit breaker: when a dependency does not answer well, stop asking it, and find out when it does again.

Pure but for its clock. Owns the states and when they change. Must not know what is called.

closed → open: of the calls of the last WINDOW_S, at least CALLS_MIN, a share of BAD_SHARE failed or were slow.
open → half-open: after OPEN_S. Then few requests at a time are let through, and their calls decide: one that fails
opens again, GOOD_CALLS fast ones in a row close. A slow one does neither, and each that succeeds lets one request more
through at a time: a dead dependency is left alone, a slow one does what it can, and nobody waits behind it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum

WINDOW_S = 4.0
CALLS_MAX = 1000  # remembered at most; older ones make room
CALLS_MIN = 10
BAD_SHARE = 0.5
SLOW_S = 1.0  # two such calls, a cancel's, take longer than a client waits
OPEN_S = 1.0  # as long as a refused client is asked to stay away (`api.RETRY_AFTER_S`)
TRIALS_FIRST = 4  # requests at a time when it has just become half-open
GOOD_CALLS = 3


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Thread-safe. `admits` before a request, `heard` after each of its calls; `trials_max` requests at a time are
    the most that half-open lets through."""

    def __init__(self, trials_max: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._trials_max = trials_max
        self._now_s = now_s
        self._lock = threading.Lock()
        self._state = State.CLOSED
        self._since_s = now_s()
        self._calls: deque[tuple[float, bool]] = deque()
        self._bad = 0
        self._trials = 0
        self._fast = 0
        self._was_open = False

    @property
    def state(self) -> State:
        return self._state

    def take_was_open(self) -> bool:
        """Whether it was open at any moment since the last look."""
        with self._lock:
            was, self._was_open = self._was_open, self._state is not State.CLOSED
            return was or self._was_open

    def admits(self, in_flight: int) -> bool:
        """Whether one more request may ask the dependency now, beside those in flight."""
        if self._state is State.CLOSED:  # without the lock: the common case, and a stale answer lets one more in
            return True
        with self._lock:
            if self._state is State.OPEN and self._now_s() - self._since_s >= OPEN_S:
                self._enter(State.HALF_OPEN)
            return self._state is State.CLOSED or (self._state is State.HALF_OPEN and in_flight < self._trials)

    def record_call(self, *, started_s: float, took_s: float, failed: bool) -> None:
        """One call ended. A call that started before the present state says nothing of it."""
        slow = took_s > SLOW_S
        with self._lock:
            if started_s < self._since_s or self._state is State.OPEN:
                return
            if self._state is State.CLOSED:
                self._remember(failed or slow, self._now_s())
            elif failed:
                self._enter(State.OPEN)
            else:
                self._try_more(slow)

    def _try_more(self, slow: bool) -> None:
        self._trials = min(self._trials + 1, self._trials_max)
        self._fast = 0 if slow else self._fast + 1
        if self._fast >= GOOD_CALLS:
            self._enter(State.CLOSED)

    def _remember(self, bad: bool, now_s: float) -> None:
        calls = self._calls
        calls.append((now_s, bad))
        self._bad += bad
        while len(calls) > CALLS_MAX or calls[0][0] < now_s - WINDOW_S:
            self._bad -= calls.popleft()[1]
        if bad and len(calls) >= CALLS_MIN and self._bad >= BAD_SHARE * len(calls):
            self._enter(State.OPEN)

    def _enter(self, state: State) -> None:
        self._state = state
        self._since_s = self._now_s()
        self._was_open |= state is State.OPEN
        self._trials = TRIALS_FIRST
        self._fast = self._bad = 0
        self._calls.clear()
