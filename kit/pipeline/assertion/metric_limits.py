"""Ask CloudWatch for PaperBroker's own metrics in a window, and hold them against their limits. No data is no pass."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

NAMESPACE = "PaperBroker"
PERIOD_S = 5  # PaperBroker's tasks publish as often
# CloudWatch may show the newest points late; a window with fewer of its periods than this has no data.
COVERAGE_MIN = 0.5
POINTS_MIN = 2

LATENCY_MS_P95, LATENCY_MS_P99 = "latency_ms_p95", "latency_ms_p99"
ERROR_RATE, MATCHES_PER_S, REQUESTS = "error_rate", "matches_per_s", "requests"
# A limit that must be reached instead of kept below.
MINIMA = frozenset({MATCHES_PER_S})
UNITS = {LATENCY_MS_P95: "ms", LATENCY_MS_P99: "ms", ERROR_RATE: "share", MATCHES_PER_S: "matches/s"}
JUDGED = tuple(UNITS)

Series = Mapping[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One metric against its limit. `measured` is None without data, `limit` None if nothing was promised."""

    name: str
    measured: float | None
    limit: float | None
    reason: str = ""

    @property
    def passes(self) -> bool:
        if self.measured is None:
            return False
        if self.limit is None:
            return True
        return self.measured >= self.limit if self.name in MINIMA else self.measured <= self.limit

    @property
    def detail(self) -> str:
        if self.measured is None:
            return f"{self.name}: no data, {self.reason}"
        shown = f"{self.name} {self.measured:.4g} {UNITS[self.name]}"
        if self.limit is None:
            return f"{shown}, without a limit"
        relation = "<" if self.name in MINIMA else ">"
        return f"{shown} {relation} {self.limit:g}" if not self.passes else f"{shown}, limit {self.limit:g}"


def hold(cloudwatch: Any, env: str, *, start: float, end: float, limits: Mapping[str, float | None]) -> list[Held]:
    """Read the metrics between two epoch seconds, and hold each against its limit."""
    first, last = math.ceil(start / PERIOD_S) * PERIOD_S, math.floor(end / PERIOD_S) * PERIOD_S
    periods = max(0, last - first) // PERIOD_S
    if periods < POINTS_MIN:
        reason = (
            f"the window of {end - start:.0f} s has {periods} periods of {PERIOD_S} s, at least {POINTS_MIN} needed"
        )
        return [Held(name=name, measured=None, limit=limits.get(name), reason=reason) for name in JUDGED]
    series = read_series(cloudwatch, env, start=first, end=last)
    return [_held(name, series, periods, limits.get(name)) for name in JUDGED]


def _held(name: str, series: Mapping[str, Series], periods: int, limit: float | None) -> Held:
    points = series[name]
    if len(points) < max(POINTS_MIN, COVERAGE_MIN * periods):
        reason = f"{len(points)} of {periods} periods of {PERIOD_S} s have a value"
        return Held(name=name, measured=None, limit=limit, reason=reason)
    return Held(name=name, measured=_measured(name, points, series[REQUESTS]), limit=limit)


def _measured(name: str, points: Series, requests: Series) -> float:
    """Return one number for the window: the median of percentiles, the mean of rates by what they are rates of."""
    if name == ERROR_RATE:
        weighted = [(rate, requests.get(at, 0.0)) for at, rate in points.items()]
        total = sum(weight for _, weight in weighted)
        return sum(rate * weight for rate, weight in weighted) / total if total else 1.0
    if name == MATCHES_PER_S:
        return statistics.fmean(points.values())
    return statistics.median(points.values())


def read_series(cloudwatch: Any, env: str, *, start: float, end: float) -> dict[str, dict[float, float]]:
    """Read every series by the time of its points (epoch s)."""
    found: dict[str, dict[float, float]] = {name: {} for name in (*JUDGED, REQUESTS)}
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries(env),
        StartTime=datetime.fromtimestamp(start, UTC),
        EndTime=datetime.fromtimestamp(end, UTC),
        ScanBy="TimestampAscending",
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            times = (at.timestamp() for at in result["Timestamps"])
            found[result["Id"]].update(zip(times, result["Values"], strict=True))
    return found


def queries(env: str) -> list[dict[str, Any]]:
    """Return the queries: percentiles as CloudWatch computes them, rates by metric math."""
    return [
        _stat(env, LATENCY_MS_P95, "LatencyMs", "api", "p95"),
        _stat(env, LATENCY_MS_P99, "LatencyMs", "api", "p99"),
        _stat(env, REQUESTS, "Requests", "api", "Sum"),
        _stat(env, "errors", "Http5xx", "api", "Sum", shown=False),
        _stat(env, "fills", "Fills", "matcher", "Sum", shown=False),
        {"Id": ERROR_RATE, "Expression": f"errors / {REQUESTS}", "Label": "5xx rate", "ReturnData": True},
        {"Id": MATCHES_PER_S, "Expression": f"fills / {PERIOD_S}", "Label": "matches a second", "ReturnData": True},
    ]


def _stat(env: str, name: str, metric: str, component: str, statistic: str, *, shown: bool = True) -> dict[str, Any]:
    dimensions: Sequence[dict[str, str]] = [{"Name": "Env", "Value": env}, {"Name": "Component", "Value": component}]
    return {
        "Id": name,
        "ReturnData": shown,
        "MetricStat": {
            "Metric": {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions},
            "Period": PERIOD_S,
            "Stat": statistic,
        },
    }
