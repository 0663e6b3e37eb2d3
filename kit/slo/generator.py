"""Whether the load generator can be believed: late or missing requests measure the generator and not the system."""

from __future__ import annotations

import math
from collections.abc import Iterable

from kit.model import CheckKind, Finding, LoadStats, Status
from kit.slo.objectives import Metric, Objective

# So much is nothing to any limit, and more than golden profiles bear.
LAG_MS_P99_MAX = 5.0
# Latency counts from the intended send, so that a late one can only make the system look slower than it is: by no more
# than this part of the strictest limit on latency that is asked for.
LAG_SHARE_MAX = 0.1
LATENCIES = frozenset({Metric.LATENCY_MS_P50, Metric.LATENCY_MS_P95, Metric.LATENCY_MS_P99})
DROPPED_MAX = 0


def lag_ms_max(objectives: Iterable[Objective] = ()) -> float:
    """The send lag at p99 up to which a run that is judged by these objectives can be believed, ms."""
    strictest = min((one.limit for one in objectives if Metric(one.metric) in LATENCIES), default=0.0)
    return max(LAG_MS_P99_MAX, LAG_SHARE_MAX * strictest)


def generator(load: LoadStats | None, objectives: Iterable[Objective] = ()) -> list[Finding]:
    """Three findings: something was sent, nothing was dropped, and the schedule was kept. Each PASS or INVALID."""
    if load is None:
        return [_finding("generator-sent", False, "the load generator left no summary")]
    lag, limit = load.lag_ms_p99, lag_ms_max(objectives)
    known = lag is not None and math.isfinite(lag)
    punctual = known and lag <= limit
    lag_words = f"sends left {lag:.2f} ms after their time at p99" if known else "the send lag was not measured"
    return [
        _finding("generator-sent", load.sent > 0, f"{load.sent:,} attempts of {load.intended:,} operations were sent"),
        _finding(
            "generator-dropped",
            load.dropped <= DROPPED_MAX and load.sent > 0,
            f"{load.dropped:,} of {load.intended:,} scheduled operations were dropped",
            measured=load.dropped,
            limit=DROPPED_MAX,
            unit="operations",
        ),
        _finding(
            "generator-lag",
            punctual and load.sent > 0,
            lag_words,
            measured=lag if known else None,
            limit=limit,
            unit="ms",
        ),
    ]


def _finding(name: str, good: bool, detail: str, **more: float | str | None) -> Finding:
    status = Status.PASS if good else Status.INVALID
    return Finding(name=name, kind=CheckKind.GENERATOR, status=status, detail=detail, **more)  # type: ignore[arg-type]
