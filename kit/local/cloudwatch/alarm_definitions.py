"""Validate the definition of a metric alarm, and read its period and its treatment of missing data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kit.errors import KitError
from kit.local.cloudwatch.alarm_state import TREATMENTS
from kit.local.cloudwatch.metric_queries import check_period, parse_queries
from kit.local.cloudwatch.series import check_statistic

# A definition as PutMetricAlarm gets it, or as MiniStack stores it.
Alarm = Mapping[str, Any]

COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "GreaterThanOrEqualToThreshold": ("greater than or equal to", lambda value, limit: value >= limit),
    "GreaterThanThreshold": ("greater than", lambda value, limit: value > limit),
    "LessThanThreshold": ("less than", lambda value, limit: value < limit),
    "LessThanOrEqualToThreshold": ("less than or equal to", lambda value, limit: value <= limit),
}
EVALUATION_SPAN_MAX_S = 86_400
METRICS_A_MATH_ALARM_MAX = 10
# These fields mean nothing in an alarm with `Metrics`; DescribeAlarms then omits them.
SINGLE_METRIC_FIELDS = ("MetricName", "Namespace", "Dimensions", "Period", "Unit", "Statistic", "ExtendedStatistic")


class InvalidAlarm(KitError):
    """An alarm definition that CloudWatch refuses with ValidationError."""


def alarm_period_s(alarm: Alarm) -> int:
    """Return the alarm's period: that of its metrics for metric math, a minute for a composite alarm."""
    if alarm.get("Metrics"):
        queries = parse_queries(alarm["Metrics"])
        return queries.period_s(queries.check_for_alarm())
    return int(alarm.get("Period") or 60)


def missing_data_treatment(alarm: Alarm) -> str:
    """Return how missing data counts. As on AWS, alarms on AWS/DynamoDB always ignore missing data."""
    if alarm.get("Namespace") == "AWS/DynamoDB":
        return "ignore"
    return alarm.get("TreatMissingData") or "missing"


def check_alarm(alarm: Alarm) -> None:
    """Raise InvalidAlarm or UnsupportedQuery unless CloudWatch accepts the alarm and we can evaluate it."""
    if not alarm.get("AlarmName"):
        raise InvalidAlarm("AlarmName is required")
    if alarm.get("ComparisonOperator") not in COMPARISONS:
        raise InvalidAlarm(
            f"ComparisonOperator {alarm.get('ComparisonOperator')!r} must be one of {', '.join(COMPARISONS)}"
            " (anomaly detection is not supported locally)"
        )
    if alarm.get("Threshold") is None:
        raise InvalidAlarm("Threshold is required")
    if (alarm.get("TreatMissingData") or "missing") not in TREATMENTS:
        raise InvalidAlarm(f"TreatMissingData {alarm['TreatMissingData']!r} must be one of {', '.join(TREATMENTS)}")
    _check_source(alarm)
    period_s, periods = alarm_period_s(alarm), int(alarm.get("EvaluationPeriods") or 0)
    if periods < 1:
        raise InvalidAlarm("EvaluationPeriods must be at least 1")
    if period_s * periods > EVALUATION_SPAN_MAX_S:
        raise InvalidAlarm(f"Period × EvaluationPeriods = {period_s * periods} s exceeds {EVALUATION_SPAN_MAX_S} s")
    to_alarm = alarm.get("DatapointsToAlarm")
    if to_alarm is not None and not 1 <= int(to_alarm) <= periods:
        raise InvalidAlarm(f"DatapointsToAlarm {to_alarm} must be within 1 and EvaluationPeriods {periods}")


def _check_source(alarm: Alarm) -> None:
    if alarm.get("ThresholdMetricId"):
        raise InvalidAlarm("ThresholdMetricId (anomaly detection) is not supported locally")
    if alarm.get("Metrics"):
        if alarm.get("MetricName"):
            raise InvalidAlarm("MetricName and Metrics exclude each other")
        queries = parse_queries(alarm["Metrics"])
        queries.check_for_alarm()
        metrics = sum(query.stat is not None for query in queries.all)
        if metrics > METRICS_A_MATH_ALARM_MAX:
            raise InvalidAlarm(f"{metrics} metrics exceed {METRICS_A_MATH_ALARM_MAX} a metric-math alarm")
        return
    if not alarm.get("MetricName") or not alarm.get("Namespace"):
        raise InvalidAlarm("MetricName and Namespace, or Metrics, are required")
    if alarm.get("Statistic") and alarm.get("ExtendedStatistic"):
        raise InvalidAlarm("Statistic and ExtendedStatistic exclude each other")
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic")
    if not statistic:
        raise InvalidAlarm("Statistic or ExtendedStatistic is required")
    check_statistic(str(statistic))
    period_s = check_period(int(alarm.get("Period") or 0))
    if period_s < 10:
        raise InvalidAlarm(f"Period {period_s} of an alarm must be 10, 20, 30 or a multiple of 60")


def as_math_alarm(alarm: dict[str, Any], metrics: list[dict[str, Any]]) -> None:
    """Turn MiniStack's record of an alarm, which cannot hold Metrics, into a metric-math alarm."""
    for name in SINGLE_METRIC_FIELDS:
        alarm.pop(name, None)
    alarm["Metrics"] = metrics


def keep_one_statistic(alarm: dict[str, Any]) -> None:
    """Remove the Average that MiniStack's record has beside a percentile; on AWS they exclude each other."""
    if alarm.get("ExtendedStatistic"):
        alarm["Statistic"] = None
