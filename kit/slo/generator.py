"""Whether the load generator can be believed: late or missing requests measure the generator and not the system."""

from __future__ import annotations

import math

from kit.model import CheckKind, Finding, LoadStats, Status

LAG_MS_P99_MAX = 5.0
DROPPED_MAX = 0


def generator(load: LoadStats | None) -> list[Finding]:
    """Three findings: something was sent, nothing was dropped, and the schedule was kept. Each PASS or INVALID."""
    if load is None:
        return [_finding("generator-sent", False, "the load generator left no summary")]
    lag = load.lag_ms_p99
    known = lag is not None and math.isfinite(lag)
    punctual = known and lag <= LAG_MS_P99_MAX
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
            limit=LAG_MS_P99_MAX,
            unit="ms",
        ),
    ]


def _finding(name: str, good: bool, detail: str, **more: float | str | None) -> Finding:
    status = Status.PASS if good else Status.INVALID
    return Finding(name=name, kind=CheckKind.GENERATOR, status=status, detail=detail, **more)  # type: ignore[arg-type]
