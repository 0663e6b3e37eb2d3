"""Asking the store again while somebody waits: when, how often, and what to say when it gave no good answer.

Owns the time that a request has and the bounds of its tries. Must not know what is asked.
"""

from __future__ import annotations

from collections.abc import Callable

from paperbroker.errors import Overloaded, PaperBrokerError, StoreContended, StoreThrottled, StoreUnavailable
from paperbroker.services.backoff import FULL, Backoff

# A client waits 2 s; an answer that comes later is work for nobody.
REQUEST_S = 1.7
# A call that would start with less time left has none for an answer, so it is not made.
CALL_S_MIN = 0.4
# The rival of one transaction is done within a few milliseconds; one after the other there may be several.
TRIES_MAX = 6
# A throttled table must not be asked by every request as often as it can: its clients ask again, too.
THROTTLED_MAX = 3
AGAIN_FIRST_S = 0.05
AGAIN_LIMIT_S = 0.8


class Patience:
    """One request's. `after` each try that failed, then `lasts` tells whether to try again."""

    def __init__(self, until: float, now_s: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._until = until
        self._now_s = now_s
        self._sleep = sleep
        self._backoff = Backoff(first_s=AGAIN_FIRST_S, limit_s=AGAIN_LIMIT_S, jitter=FULL)
        self._tries = 0
        self._throttled = 0
        self._doubtful = False
        self._last: StoreUnavailable | None = None

    def in_time(self, pause_s: float = 0.0) -> bool:
        """Whether a call after the pause could still be answered in time."""
        return self._now_s() + pause_s + CALL_S_MIN <= self._until

    def after(self, failure: StoreUnavailable) -> None:
        """Take in how a try failed."""
        self._tries += 1
        self._last = failure
        if isinstance(failure, StoreThrottled):
            self._throttled += 1
        elif not isinstance(failure, StoreContended):
            self._doubtful = True

    def lasts(self) -> bool:
        """True, after a pause, if another try is allowed and in time."""
        pause_s = self._backoff.next_s()
        if self._tries >= TRIES_MAX or self._throttled >= THROTTLED_MAX or not self.in_time(pause_s):
            return False
        self._sleep(pause_s)
        return True

    def verdict(self, order_id: str) -> PaperBrokerError:
        """Of writes: the last refusal if every try was refused, else that one of them may have been written."""
        assert self._last is not None, "no try has failed"
        return StoreUnavailable(f"outcome of {order_id} is unknown: {self._last}") if self._doubtful else self._last

    def refusal(self, order_id: str) -> PaperBrokerError:
        """Of reads: nothing was written, whatever became of the tries."""
        assert self._last is not None, "no try has failed"
        return Overloaded(f"cannot read {order_id}: {self._last}") if self._doubtful else self._last
