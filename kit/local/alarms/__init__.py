"""CloudWatch alarms and metric math of the local AWS."""

from kit.local.alarms.evaluator import AlarmEvaluator

__all__ = ["AlarmEvaluator"]
