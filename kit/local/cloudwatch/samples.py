"""Read MiniStack's stored metric points as one value a period, and evict old ones.

An index over the points makes an evaluation cost the new points only. Works in the caller's account and Region.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeAlias

from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch

from kit.local.cloudwatch.points import Point, Points
from kit.local.cloudwatch.series import STATISTICS, Series, check_statistic, rank_bounds

Positions: TypeAlias = "array[int]"

# MiniStack would scan every stored point on every CloudWatch request to evict old ones; once a minute is enough.
EVICT_EVERY_S = 60.0
# Values remembered a metric: an alarm looks at a few minutes again and again, a report at a run once.
VALUES_KNOWN_MAX = 1_000
# An index that nothing has read for this time is dropped, and made anew when it is needed. It takes more memory than
# the points themselves; alarms read theirs every second, and a report those of its run once.
INDEX_IDLE_S = 60.0
# Each run of PaperBroker has 122 metrics of its own. Beyond this number, metrics without data for a while are dropped,
# the oldest first, so that a local AWS that stands for days does not grow with each run.
METRICS_MAX = 1_000
METRIC_IDLE_S = 900.0


@dataclass(slots=True, kw_only=True)
class _Index:
    """The points of one metric by second; `consumed` counts those that are indexed already."""

    source: Points
    read_at: float = 0.0
    consumed: int = 0
    # The positions of the points of a second.
    by_second: dict[int, Positions] = field(default_factory=dict)
    # (statistic, period, unit, start) → (points then, value): a closed period is computed once.
    known: dict[tuple[str, int, str | None, int], tuple[int, float | None]] = field(default_factory=dict)

    def refresh(self) -> None:
        for position in range(self.consumed, len(self.source)):
            self.by_second.setdefault(int(self.source.at(position)), array("I")).append(position)
        self.consumed = len(self.source)


class Samples:
    """The metrics of all accounts and Regions, as series."""

    def __init__(self) -> None:
        self._indexes: dict[tuple[str, ...], _Index] = {}
        self._evicted_at = 0.0

    def read(
        self,
        *,
        namespace: str,
        name: str,
        dimensions: dict[str, str],
        statistic: str,
        period_s: int,
        start: int,
        end: int,
        unit: str | None = None,
    ) -> Series:
        """Return one value for each period that starts in [start, end); a period without samples is absent.

        `start` must be the start of a period. Dimensions must match exactly, as on AWS: a metric without dimensions is
        a metric of its own, not the sum of all.
        """
        check_statistic(statistic)
        index = self._index(namespace, name, dimensions)
        if index is None:
            return {}
        buckets: dict[int, list[Positions]] = {}
        for second in _seconds(index.by_second, start, end):
            buckets.setdefault(second - second % period_s, []).append(index.by_second[second])
        values = {at: _value(index, statistic, period_s, unit, at, lists) for at, lists in sorted(buckets.items())}
        return {at: value for at, value in values.items() if value is not None}

    def _index(self, namespace: str, name: str, dimensions: dict[str, str]) -> _Index | None:
        dims_key = cloudwatch._dims_key(dimensions)
        points = cloudwatch._metrics.get((namespace, name, dims_key))
        if points is None:
            return None
        key = (get_account_id(), get_region(), namespace, name, dims_key)
        index = self._indexes.get(key)
        if index is None or index.source is not points or index.consumed > len(points):
            index = self._indexes[key] = _Index(source=points)
        index.refresh()
        index.read_at = time.time()
        return index

    def evict(self) -> None:
        """Drop the points that are older than CloudWatch keeps them, and the indexes that are no longer read."""
        now = time.time()
        if now - self._evicted_at < EVICT_EVERY_S:
            return
        self._evicted_at = now
        for key in [key for key, index in self._indexes.items() if now - index.read_at > INDEX_IDLE_S]:
            del self._indexes[key]
        _drop_idle_metrics(now)
        cutoff = now - cloudwatch.TWO_WEEKS_SECONDS
        # Lists without old points stay the same objects, so that they keep their index.
        for key, points in list(cloudwatch._metrics.items()):
            if any(points.at(position) < cutoff for position in range(len(points))):
                kept = Points(point for point in points if point["Timestamp"] >= cutoff)
                if kept:
                    cloudwatch._metrics[key] = kept
                else:
                    del cloudwatch._metrics[key]


def _drop_idle_metrics(now: float) -> None:
    """Drop the oldest metrics of all accounts and Regions beyond METRICS_MAX, unless they have had data of late."""
    metrics = cloudwatch._metrics._data
    surplus = len(metrics) - METRICS_MAX
    if surplus > 0:
        ages = sorted((points.at(len(points) - 1), key) for key, points in metrics.items() if len(points))
        for newest, key in ages[:surplus]:
            if now - newest > METRIC_IDLE_S:
                del metrics[key]


def _seconds(known: Collection[int], start: int, end: int) -> Collection[int]:
    """Return the known seconds in the range, by iterating over the shorter one of the range and the index."""
    if end - start < len(known):
        return [second for second in range(start, end) if second in known]
    return [second for second in known if start <= second < end]


def _value(
    index: _Index, statistic: str, period_s: int, unit: str | None, at: int, lists: list[Positions]
) -> float | None:
    key, count = (statistic, period_s, unit, at), sum(map(len, lists))
    known = index.known.get(key)
    if known is not None and known[0] == count:
        return known[1]
    found = (index.source[position] for positions in lists for position in positions)
    points = [point for point in found if unit is None or point.get("Unit") == unit]
    value = _statistic(points, statistic)
    if len(index.known) >= VALUES_KNOWN_MAX:
        index.known.clear()
    index.known[key] = (count, value)
    return value


def _statistic(points: list[Point], statistic: str) -> float | None:
    if statistic in STATISTICS:
        return cloudwatch._calc_stats(points).get(statistic)
    samples = cloudwatch._percentile_samples(points)
    bounds = rank_bounds(statistic)
    if bounds is not None:
        return _rank(samples, *bounds) if samples else None
    return cloudwatch._percentile(samples, float(statistic[1:])) if samples else None


def _rank(samples: list[tuple[float, float]], low: float, high: float) -> float:
    """Return the percentage of the values in (low, high]."""
    return 100 * sum(n for value, n in samples if low < value <= high) / sum(n for _, n in samples)
