"""Circuit breaker: stop calling a dependency that fails or is slow, and detect when it has recovered.

closed → open: at least CALLS_MIN calls within WINDOW_S, and a share of BAD_SHARE of them failed or were slow.
open → half-open: after OPEN_S.
half-open: a few requests at a time are admitted. One failed call opens the breaker again; GOOD_CALLS fast calls in a
row close it. A slow call changes nothing. Each successful call admits one more request at a time, so a slow dependency
gets as much work as it can do.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum

WINDOW_S = 4.0
CALLS_MAX = 1000  # At most this many calls are remembered; the oldest are dropped.
CALLS_MIN = 10
BAD_SHARE = 0.5
SLOW_S = 1.0  # A cancel makes two calls; two such calls take as long as a client waits.
OPEN_S = 1.0  # Equal to the Retry-After of a refused client (`api.RETRY_AFTER_S`).
TRIALS_FIRST = 4  # Requests at a time right after it has become half-open.
GOOD_CALLS = 3


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Thread-safe. Call `admits` before a request and `record_call` after each of its calls.

    `trials_max` bounds the requests in flight while the breaker is half-open.
    """

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
        """Return whether the breaker was open at any time since the last call of this method."""
        with self._lock:
            was, self._was_open = self._was_open, self._state is not State.CLOSED
            return was or self._was_open

    def admits(self, in_flight: int) -> bool:
        """Return whether one more request may call the dependency now, beside `in_flight` others."""
        if (
            self._state is State.CLOSED
        ):  # Read without the lock: the common case. A stale answer admits one more request.
            return True
        with self._lock:
            if self._state is State.OPEN and self._now_s() - self._since_s >= OPEN_S:
                self._enter(State.HALF_OPEN)
            return self._state is State.CLOSED or (self._state is State.HALF_OPEN and in_flight < self._trials)

    def record_call(self, *, started_s: float, took_s: float, failed: bool) -> None:
        """Record the end of one call. A call that started before the current state began is ignored."""
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
