"""Check the load generator: late or missing requests measure the generator and not the system."""

from __future__ import annotations

import math
from collections.abc import Iterable

from kit.model import CheckKind, Finding, LoadStats, Status
from kit.slo.objectives import Metric, Objective

# A lag that no objective notices, and the most that golden profiles allow.
LAG_MS_P99_MAX = 5.0
# Latency counts from the intended send, so a late send makes the system look slower than it is. At most this share of
# the strictest latency limit is accepted.
LAG_SHARE_MAX = 0.1
LATENCIES = frozenset({Metric.LATENCY_MS_P50, Metric.LATENCY_MS_P95, Metric.LATENCY_MS_P99})
DROPPED_MAX = 0


def lag_ms_max(objectives: Iterable[Objective] = ()) -> float:
    """Return the send lag at p99, in ms, up to which a run can be judged by these objectives."""
    strictest = min((one.limit for one in objectives if Metric(one.metric) in LATENCIES), default=0.0)
    return max(LAG_MS_P99_MAX, LAG_SHARE_MAX * strictest)


def generator(load: LoadStats, objectives: Iterable[Objective] = ()) -> list[Finding]:
    """Check that something was sent, nothing was dropped and the schedule was kept. Each is PASS or INVALID."""
    lag, limit = load.lag_ms_p99, lag_ms_max(objectives)
    known = lag is not None and math.isfinite(lag)
    punctual = known and lag <= limit
    lag_text = f"sends left {lag:.2f} ms after their time at p99" if known else "the send lag was not measured"
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
            lag_text,
            measured=lag if known else None,
            limit=limit,
            unit="ms",
        ),
    ]


def _finding(name: str, good: bool, detail: str, **more: float | str | None) -> Finding:
    status = Status.PASS if good else Status.INVALID
    return Finding(name=name, kind=CheckKind.GENERATOR, status=status, detail=detail, **more)  # type: ignore[arg-type]
