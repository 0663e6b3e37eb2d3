"""What the generator counts about itself while it runs.

Owns the numbers of `progress.json` and `LoadStats`; must not know the engine. Memory is flat however long the run.
"""

from __future__ import annotations

import math
from collections import deque

from kit.load.http_attempt import Attempt
from kit.model import FIRST, NS_PER_MS, LoadStats, Outcome

LAG_BUCKET_NS = 10_000
LAG_BUCKETS = 100_000  # up to one second; later still counts as that
RECENT_MAX = 4_096  # latencies kept for the live plot


class Counts:
    """Counters of one run. Lag is kept as a histogram of 10 µs buckets, so its percentile is exact to that."""

    __slots__ = (
        "_lags",
        "_recent_ns",
        "completed",
        "dropped",
        "fail",
        "info",
        "lag_ns_max",
        "late",
        "ok",
        "sent",
    )

    def __init__(self) -> None:
        self.sent = self.completed = 0
        self.ok = self.fail = self.info = self.dropped = self.late = 0
        self.lag_ns_max = 0
        self._lags = [0] * LAG_BUCKETS
        self._recent_ns: deque[int] = deque(maxlen=RECENT_MAX)

    def saw_lag(self, lag_ns: int) -> None:
        self._lags[min(max(lag_ns, 0) // LAG_BUCKET_NS, LAG_BUCKETS - 1)] += 1
        if lag_ns > self.lag_ns_max:
            self.lag_ns_max = lag_ns

    def saw(self, attempt: Attempt) -> None:
        self.completed += 1
        if attempt.outcome == Outcome.OK:
            self.ok += 1
        elif attempt.outcome == Outcome.FAIL:
            self.fail += 1
        else:
            self.info += 1
        if attempt.kind == FIRST:
            self._recent_ns.append(attempt.completed_ns - attempt.intended_ns)

    def lag_ms(self, share: float) -> float:
        """The lag that `share` of the operations did not exceed: its bucket's end; past a second, the largest."""
        wanted = math.ceil(sum(self._lags) * share)
        seen = 0
        for bucket, count in enumerate(self._lags):
            seen += count
            if count and seen >= wanted:
                beyond = bucket == LAG_BUCKETS - 1
                return (self.lag_ns_max if beyond else (bucket + 1) * LAG_BUCKET_NS) / NS_PER_MS
        return 0.0

    def take_p95_ms(self) -> float | None:
        """The p95 latency of the first attempts since the last call; None if there were none."""
        recent = sorted(self._recent_ns)
        self._recent_ns.clear()
        return round(recent[math.ceil(len(recent) * 0.95) - 1] / NS_PER_MS, 3) if recent else None

    def stats(self, intended: int) -> LoadStats:
        return LoadStats(
            intended=intended,
            sent=self.sent,
            ok=self.ok,
            fail=self.fail,
            info=self.info,
            dropped=self.dropped,
            lag_ms_p99=self.lag_ms(0.99),
        )
