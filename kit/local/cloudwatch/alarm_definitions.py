"""What an alarm's definition says: its comparison, its period, its treatment of missing data.

Pure functions over MiniStack's alarm records; knows neither stores nor wire formats.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kit.local.cloudwatch.metric_queries import parse_queries

Alarm = Mapping[str, Any]

COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "GreaterThanOrEqualToThreshold": ("greater than or equal to", lambda value, limit: value >= limit),
    "GreaterThanThreshold": ("greater than", lambda value, limit: value > limit),
    "LessThanThreshold": ("less than", lambda value, limit: value < limit),
    "LessThanOrEqualToThreshold": ("less than or equal to", lambda value, limit: value <= limit),
}


def alarm_period_s(alarm: Alarm) -> int:
    """The alarm's period; that of its metrics for metric math, a minute for a composite."""
    if alarm.get("Metrics"):
        queries = parse_queries(alarm["Metrics"])
        return queries.period_s(queries.check_for_alarm())
    return int(alarm.get("Period") or 60)


def treatment_of(alarm: Alarm) -> str:
    """AWS/DynamoDB alarms ignore missing data whatever they say, as on AWS."""
    if alarm.get("Namespace") == "AWS/DynamoDB":
        return "ignore"
    return alarm.get("TreatMissingData") or "missing"
