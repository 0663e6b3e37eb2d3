"""Answer GetMetricStatistics from the samples: exact dimensions, units, and every statistic that is supported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ministack.services import cloudwatch

from kit.local.cloudwatch.metric_queries import dimensions_of
from kit.local.cloudwatch.samples import Samples
from kit.local.cloudwatch.series import STATISTICS

Request = Mapping[str, Any]


def datapoints(samples: Samples, request: Request, start: float, end: float) -> list[dict[str, Any]]:
    """Return the datapoints of a request that was checked, in order of time, one for each period and unit."""
    dimensions = dimensions_of(request.get("Dimensions"))
    period_s = int(request["Period"])
    first = int(start) - int(start) % period_s
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for unit in _units(request, dimensions):
        for statistic in _statistics(request):
            series = samples.read(
                namespace=request["Namespace"],
                name=request["MetricName"],
                dimensions=dimensions,
                statistic=statistic,
                period_s=period_s,
                start=first,
                end=-int(-end // 1),
                unit=unit,
            )
            for at, value in series.items():
                point = found.setdefault((at, unit), {"Timestamp": cloudwatch._ts_iso(at), "Unit": unit})
                holder = point if statistic in STATISTICS else point.setdefault("ExtendedStatistics", {})
                holder[statistic] = value
    return [found[key] for key in sorted(found)]


def _statistics(request: Request) -> Sequence[str]:
    return [*(request.get("Statistics") or ()), *(request.get("ExtendedStatistics") or ())]


def _units(request: Request, dimensions: dict[str, str]) -> Sequence[str]:
    """Return the unit that is asked for, or all units of the metric's points."""
    if request.get("Unit"):
        return [request["Unit"]]
    key = (request["Namespace"], request["MetricName"], cloudwatch._dims_key(dimensions))
    points = cloudwatch._metrics.get(key)
    return sorted(set(points.units())) if points else []
