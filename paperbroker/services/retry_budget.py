"""Bound the retries of store calls within one request, and choose the error when they run out."""

from __future__ import annotations

from collections.abc import Callable

from paperbroker.errors import Overloaded, PaperBrokerError, StoreContended, StoreThrottled, StoreUnavailable
from paperbroker.services.backoff import FULL, Backoff

# A client waits 2 s; a later answer is of no use.
REQUEST_S = 1.7
# A call with less time left would not be answered in time, so it is not made.
CALL_S_MIN = 0.4
# A conflicting transaction ends within a few milliseconds, but several may follow one another.
TRIES_MAX = 6
# Every request retries a throttled table only a few times, because its clients retry too.
THROTTLED_MAX = 3
AGAIN_FIRST_S = 0.05
AGAIN_LIMIT_S = 0.8


class RetryBudget:
    """The retry budget of one request: call `record_failure` after each failed try, then `may_retry`."""

    def __init__(self, until: float, now_s: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._until = until
        self._now_s = now_s
        self._sleep = sleep
        self._backoff = Backoff(first_s=AGAIN_FIRST_S, limit_s=AGAIN_LIMIT_S, jitter=FULL)
        self._tries = 0
        self._throttled = 0
        self._outcome_unknown = False
        self._last: StoreUnavailable | None = None

    def has_time(self, pause_s: float = 0.0) -> bool:
        """Return whether a call that starts after `pause_s` can still be answered before the deadline."""
        return self._now_s() + pause_s + CALL_S_MIN <= self._until

    def record_failure(self, failure: StoreUnavailable) -> None:
        """Count a failed try; remember whether its write may have happened."""
        self._tries += 1
        self._last = failure
        if isinstance(failure, StoreThrottled):
            self._throttled += 1
        elif not isinstance(failure, StoreContended):
            self._outcome_unknown = True

    def may_retry(self) -> bool:
        """Sleep for the backoff and return True if another try fits the budget; return False otherwise."""
        pause_s = self._backoff.next_s()
        if self._tries >= TRIES_MAX or self._throttled >= THROTTLED_MAX or not self.has_time(pause_s):
            return False
        self._sleep(pause_s)
        return True

    def write_error(self, order_id: str) -> PaperBrokerError:
        """Return the error of a failed write: the last refusal if all tries were refused, otherwise outcome unknown."""
        assert self._last is not None, "no try has failed"
        return (
            StoreUnavailable(f"outcome of {order_id} is unknown: {self._last}") if self._outcome_unknown else self._last
        )

    def read_error(self, order_id: str) -> PaperBrokerError:
        """Return the error of a failed read: always a refusal, because a read has no effect."""
        assert self._last is not None, "no try has failed"
        return Overloaded(f"cannot read {order_id}: {self._last}") if self._outcome_unknown else self._last
