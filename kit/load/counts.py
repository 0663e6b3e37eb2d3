"""Count what the load generator does, for `progress.json` and `LoadStats`, in constant memory.

Counts of lags are kept beside their percentiles, because counts of several generators can be added and percentiles
cannot.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from kit.load.http_attempt import Attempt
from kit.model import FIRST, NS_PER_MS, LoadStats, Outcome

LAG_BUCKET_NS = 10_000
LAG_BUCKETS = 100_000  # up to one second; the last bucket also holds larger lags
RECENT_MAX = 4_096  # latest latencies that are kept for the live plot


class Counts:
    """Counters of one run.

    Lag is the time from the intended to the actual send. Its histogram has buckets of 10 µs, the resolution of its
    percentiles.
    """

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

    def record_lag(self, lag_ns: int) -> None:
        self._lags[min(max(lag_ns, 0) // LAG_BUCKET_NS, LAG_BUCKETS - 1)] += 1
        if lag_ns > self.lag_ns_max:
            self.lag_ns_max = lag_ns

    def record(self, attempt: Attempt) -> None:
        self.completed += 1
        if attempt.outcome == Outcome.OK:
            self.ok += 1
        elif attempt.outcome == Outcome.FAIL:
            self.fail += 1
        else:
            self.info += 1
        if attempt.kind == FIRST:
            self._recent_ns.append(attempt.completed_ns - attempt.intended_ns)

    @property
    def lag_counts(self) -> list[tuple[int, int]]:
        """The buckets that are not empty, each with its number of operations, by lag."""
        return [(bucket, count) for bucket, count in enumerate(self._lags) if count]

    @property
    def lag_ms_max(self) -> float:
        return self.lag_ns_max / NS_PER_MS

    def lag_ms(self, share: float) -> float:
        """Return the lag that `share` of the operations did not exceed; above one second the largest lag."""
        return lag_ms(self.lag_counts, self.lag_ms_max, share)

    def take_p95_ms(self) -> float | None:
        """Return the p95 latency of first attempts since the last call; None if there were none."""
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


def lag_ms(lag_counts: Sequence[tuple[int, int]], lag_ms_max: float, share: float) -> float:
    """Return the lag that `share` of the operations did not exceed, from counts by ascending bucket."""
    rank = math.ceil(sum(count for _, count in lag_counts) * share)
    seen = 0
    for bucket, count in lag_counts:
        seen += count
        if seen >= rank:
            return lag_ms_max if bucket == LAG_BUCKETS - 1 else (bucket + 1) * LAG_BUCKET_NS / NS_PER_MS
    return 0.0
