"""Check requests beyond botocore's model: what PutMetricData, GetMetricStatistics, alarms and dashboards accept.

Source: the CloudWatch API reference, by operation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kit.errors import KitError
from kit.local.cloudwatch.metric_queries import check_period
from kit.local.cloudwatch.series import UnsupportedQuery, check_statistic
from kit.local.cloudwatch.suppression import EXTENSION_S, SUPPRESSOR, WAIT_S

Request = Mapping[str, Any]

RESERVED_NAMESPACE = "AWS/"
VALUE_MAX = 2.0**360
VALUES_A_DATUM_MAX = 150
PAST_S_MAX = 14 * 86_400
FUTURE_S_MAX = 2 * 3_600
STATISTICS_POINTS_MAX = 1_440
VALUE, COMBINATION, MISSING = "InvalidParameterValue", "InvalidParameterCombination", "MissingRequiredParameter"
DASHBOARD_INVALID = "InvalidParameterInput"


class Refused(KitError):
    """A request that CloudWatch refuses; `code` is its error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_metric_data(request: Request, times: Sequence[float | None], now: float) -> None:
    """Raise Refused unless PutMetricData accepts the data. `times` are the data's timestamps in epoch seconds."""
    namespace = str(request.get("Namespace"))
    if namespace.startswith(RESERVED_NAMESPACE):
        raise Refused(VALUE, f"The value {namespace} for parameter Namespace is invalid: {RESERVED_NAMESPACE} is AWS's")
    for index, (datum, at) in enumerate(zip(request["MetricData"], times, strict=True), 1):
        where = f"MetricData.member.{index}"
        _check_kind(datum, where)
        _check_numbers(datum, where)
        if at is not None and not now - PAST_S_MAX <= at <= now + FUTURE_S_MAX:
            raise Refused(
                VALUE, f"The parameter {where}.Timestamp must be within the last two weeks and the next two hours"
            )


def _check_kind(datum: Request, where: str) -> None:
    given = [name for name in ("Value", "Values", "StatisticValues") if datum.get(name) not in (None, [])]
    if len(given) > 1:
        raise Refused(COMBINATION, f"The parameters {where}.{given[0]} and {where}.{given[1]} are mutually exclusive")
    if not given:
        raise Refused(MISSING, f"At least one of the parameters {where}.Value, Values, StatisticValues must be given")
    counts = datum.get("Counts")
    if counts and len(counts) != len(datum.get("Values") or ()):
        raise Refused(VALUE, f"The parameters {where}.Values and {where}.Counts must be of the same length")
    if len(datum.get("Values") or ()) > VALUES_A_DATUM_MAX:
        raise Refused(VALUE, f"The parameter {where}.Values has more than {VALUES_A_DATUM_MAX} members")


def _check_numbers(datum: Request, where: str) -> None:
    statistics = datum.get("StatisticValues") or {}
    for value in _numbers(datum, statistics):
        number = float(value)
        if not math.isfinite(number) or abs(number) > VALUE_MAX:
            raise Refused(VALUE, f"The value {value} for parameter {where} is not a number between -2^360 and 2^360")
    if statistics and float(statistics["Minimum"]) > float(statistics["Maximum"]):
        raise Refused(VALUE, f"The parameter {where}.StatisticValues has a Minimum above its Maximum")


def _numbers(datum: Request, statistics: Request) -> Iterable[Any]:
    if datum.get("Value") is not None:
        yield datum["Value"]
    yield from datum.get("Values") or ()
    yield from datum.get("Counts") or ()
    yield from statistics.values()


def check_statistics(request: Request, start: float | None, end: float | None) -> tuple[float, float]:
    """Return start and end of a request that GetMetricStatistics accepts. Raises Refused for any other."""
    if start is None or end is None or start >= end:
        raise Refused(VALUE, "The parameter StartTime must be less than the parameter EndTime")
    statistics = [*(request.get("Statistics") or ()), *(request.get("ExtendedStatistics") or ())]
    if not statistics:
        raise Refused(MISSING, "The parameters Statistics or ExtendedStatistics must be given")
    try:
        period_s = check_period(int(request["Period"]))
        for statistic in statistics:
            check_statistic(statistic)
    except UnsupportedQuery as error:
        raise Refused(VALUE, str(error)) from error
    points = (end - start) / period_s
    if points > STATISTICS_POINTS_MAX:
        raise Refused(
            COMBINATION,
            f"You have requested up to {math.ceil(points)} datapoints, which exceeds the limit of "
            f"{STATISTICS_POINTS_MAX}",
        )
    return start, end


def check_actions(alarm: Request) -> None:
    """Raise Refused for an action that is no ARN, or that nothing performs here."""
    for name in ("AlarmActions", "OKActions", "InsufficientDataActions"):
        for action in alarm.get(name) or ():
            parts = str(action).split(":")
            if len(parts) < 6 or parts[0] != "arn":
                raise Refused("ValidationError", f"Invalid arn syntax: {action}")
            if parts[2] != "sns":
                raise Refused(
                    "UnsupportedOperation",
                    f"{name} {action} is not served here, only SNS topics are; AWS would perform the action",
                )


def check_suppressor(alarm: Request, known: Iterable[str]) -> None:
    """Raise Refused unless the suppressor is an existing alarm with both periods, or none of them is given."""
    suppressor = alarm.get(SUPPRESSOR)
    periods = {name: alarm.get(name) for name in (WAIT_S, EXTENSION_S)}
    for name, period in periods.items():
        if (period is None) == bool(suppressor):
            raise Refused("ValidationError", f"{SUPPRESSOR} and {name} must be given together")
        if period is not None and period < 0:
            raise Refused("ValidationError", f"{name} {period} must not be negative")
    if suppressor and suppressor.rpartition(":alarm:")[2] not in set(known) - {alarm["AlarmName"]}:
        raise Refused("ValidationError", f"{SUPPRESSOR} {suppressor} is not an existing alarm")


def check_dashboard(body: str) -> None:
    """Raise Refused unless the body of a dashboard is a JSON object with a list of widgets."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise Refused(DASHBOARD_INVALID, f"The field DashboardBody must be a valid JSON object: {error}") from error
    widgets = content.get("widgets", []) if isinstance(content, dict) else None
    if not isinstance(widgets, list):
        raise Refused(DASHBOARD_INVALID, "The field DashboardBody must be a JSON object with a list of widgets")
    for index, widget in enumerate(widgets):
        if not isinstance(widget, dict) or not isinstance(widget.get("type"), str):
            raise Refused(DASHBOARD_INVALID, f"/widgets/{index} must be an object with a type")
