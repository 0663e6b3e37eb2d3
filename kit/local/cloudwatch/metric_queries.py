"""Validate and evaluate MetricDataQueries, the metrics and expressions of GetMetricData and metric-math alarms."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.local.cloudwatch import metric_math
from kit.local.cloudwatch.metric_math import Expression, Scope, Value
from kit.local.cloudwatch.samples import Samples
from kit.local.cloudwatch.series import Series, UnsupportedQuery, check_statistic

QUERIES_MAX = 500
HIGH_RESOLUTION_PERIODS_S = (1, 5, 10, 20, 30)
_ID = re.compile(r"[a-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricStat:
    """One metric with its statistic and period."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str
    period_s: int
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One entry of MetricDataQueries; exactly one of `stat` and `expression` is set."""

    id: str
    label: str
    return_data: bool
    stat: MetricStat | None = None
    expression: Expression | None = None


def parse_queries(items: Sequence[Mapping[str, Any]]) -> "Queries":
    """Parse and validate queries. Raises UnsupportedQuery, which names the query."""
    if not 1 <= len(items) <= QUERIES_MAX:
        raise UnsupportedQuery(f"{len(items)} metric queries given, 1 to {QUERIES_MAX} are possible")
    return Queries([_parse_query(item) for item in items])


def check_period(period_s: int) -> int:
    """Return the period. Raises UnsupportedQuery unless CloudWatch has it."""
    if period_s in HIGH_RESOLUTION_PERIODS_S or (period_s > 0 and period_s % 60 == 0):
        return period_s
    raise UnsupportedQuery(f"period {period_s} must be one of {HIGH_RESOLUTION_PERIODS_S} or a multiple of 60")


def _parse_query(item: Mapping[str, Any]) -> Query:
    query_id = str(item.get("Id", ""))
    if not _ID.fullmatch(query_id):
        raise UnsupportedQuery(f"query id {query_id!r} must start with a lowercase letter")
    if item.get("AccountId"):
        raise UnsupportedQuery(f"query {query_id}: AccountId (cross-account metrics) is not supported locally")
    stat, text = item.get("MetricStat"), item.get("Expression")
    if bool(stat) == bool(text):
        raise UnsupportedQuery(f"query {query_id} needs exactly one of MetricStat and Expression")
    parsed = _parse_stat(stat) if stat else None
    return Query(
        id=query_id,
        label=item.get("Label") or (parsed.name if parsed else query_id),
        return_data=str(item.get("ReturnData", True)).lower() != "false",
        stat=parsed,
        expression=metric_math.parse(str(text)) if text else None,
    )


def _parse_stat(item: Mapping[str, Any]) -> MetricStat:
    metric = item.get("Metric") or {}
    name = str(metric.get("MetricName") or "")
    namespace = str(metric.get("Namespace") or "")
    if not name or not namespace:
        raise UnsupportedQuery("MetricStat.Metric needs Namespace and MetricName")
    statistic = str(item.get("Stat", ""))
    check_statistic(statistic)
    return MetricStat(
        namespace=namespace,
        name=name,
        dimensions=dimensions_of(metric.get("Dimensions")),
        statistic=statistic,
        period_s=check_period(int(item.get("Period", 60))),
        unit=item.get("Unit") or None,
    )


def dimensions_of(items: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """Return [{Name, Value}] as a mapping."""
    return {item["Name"]: item.get("Value", "") for item in items or ()}


class Queries:
    """A validated list of queries."""

    def __init__(self, queries: Sequence[Query]) -> None:
        self.all = tuple(queries)
        self._by_id = {query.id: query for query in self.all}
        if len(self._by_id) != len(self.all):
            raise UnsupportedQuery("query ids must be unique")
        # A dummy value shows the type of each result, and this refuses unknown ids, circles and mixed periods.
        self._dummies = {query.id: self._answer_dummy(query) for query in self.all}

    def period_s(self, query: Query) -> int:
        """Return the period that all metrics of a query have in common."""
        periods = {stat.period_s for stat in self._stats_under(query, ())}
        if len(periods) != 1:
            raise UnsupportedQuery(
                f"query {query.id} mixes periods {sorted(periods)}; one period an expression is supported locally"
            )
        return periods.pop()

    def check_for_alarm(self) -> Query:
        """Return the one query that an alarm watches. Raises UnsupportedQuery unless it is one series."""
        returned = [query for query in self.all if query.return_data]
        if len(returned) != 1:
            raise UnsupportedQuery(f"an alarm needs exactly one query with ReturnData, not {len(returned)}")
        if not isinstance(self._dummies[returned[0].id], dict):
            raise UnsupportedQuery(f"query {returned[0].id} must give one time series")
        return returned[0]

    def evaluate(self, samples: Samples, start: int, end: int) -> dict[str, Value]:
        """Return every query's value over [start, end); `start` is rounded down to each query's period."""
        known: dict[str, Value] = {}
        for query in self.all:
            self._answer(query, samples, start, end, known)
        return known

    def _answer(self, query: Query, samples: Samples, start: int, end: int, known: dict[str, Value]) -> Value:
        if query.id in known:
            return known[query.id]
        period_s = self.period_s(query)
        first = start - start % period_s
        if query.stat is not None:
            known[query.id] = read_stat(samples, query.stat, first, end)
        else:
            scope = Scope(
                series=lambda query_id: self._answer(self._by_id[query_id], samples, start, end, known),
                metric_ids=self._metric_ids(),
                times=range(first, end, period_s),
            )
            known[query.id] = query.expression.evaluate(scope)  # type: ignore[union-attr]
        return known[query.id]

    def _answer_dummy(self, query: Query) -> Value:
        self.period_s(query)
        scope = Scope(
            series=lambda query_id: (
                {0: 1.0} if self._by_id[query_id].stat is not None else self._answer_dummy(self._by_id[query_id])
            ),
            metric_ids=self._metric_ids(),
            times=(0,),
        )
        value: Value = {0: 1.0} if query.expression is None else query.expression.evaluate(scope)
        if query.return_data and not isinstance(value, dict | list):
            raise UnsupportedQuery(f"query {query.id} gives a single number, a time series is needed")
        return value

    def _metric_ids(self) -> list[str]:
        return [query.id for query in self.all if query.stat is not None]

    def _stats_under(self, query: Query, path: tuple[str, ...]) -> list[MetricStat]:
        if query.id in path:
            raise UnsupportedQuery(f"queries refer to each other in a circle: {' → '.join((*path, query.id))}")
        if query.stat is not None:
            return [query.stat]
        expression = query.expression
        assert expression is not None
        ids = [*sorted(expression.ids), *(self._metric_ids() if expression.uses_all else ())]
        unknown = [query_id for query_id in ids if query_id not in self._by_id]
        if unknown:
            raise UnsupportedQuery(f"metric math {expression.text!r} refers to unknown id {unknown[0]!r}")
        return [stat for each in ids for stat in self._stats_under(self._by_id[each], (*path, query.id))]


def read_stat(samples: Samples, stat: MetricStat, start: int, end: int) -> Series:
    """Return one metric's series."""
    return samples.read(
        namespace=stat.namespace,
        name=stat.name,
        dimensions=dict(stat.dimensions),
        statistic=stat.statistic,
        period_s=stat.period_s,
        start=start,
        end=end,
        unit=stat.unit,
    )
