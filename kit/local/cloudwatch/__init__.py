"""CloudWatch alarms and metric math of the local AWS."""

from kit.local.cloudwatch.service import CloudWatch

__all__ = ["CloudWatch"]
