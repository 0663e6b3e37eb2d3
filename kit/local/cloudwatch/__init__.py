"""CloudWatch alarms and metric math of the local AWS."""

from kit.local.cloudwatch.service import AlarmEvaluator

__all__ = ["AlarmEvaluator"]
