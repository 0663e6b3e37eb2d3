"""Patch MiniStack's CloudWatch."""

from collections.abc import Callable
from typing import Any

from ministack.services import cloudwatch

from kit.local.cloudwatch.operations import Operations
from kit.local.cloudwatch.points import Points
from kit.local.cloudwatch.samples import Samples
from kit.local.patching import Patches


def install(patches: Patches, operations: Operations, samples: Samples, announce: Callable[..., None]) -> None:
    """Patch the alarm operations, and replace MiniStack's evaluation of alarms by ours.

    `announce` gets MiniStack's notification of SNS, and what that function gets, on every change of an alarm's state.
    """
    patches.replace(cloudwatch, "_evaluate_all_alarms", lambda: None)
    patches.replace(cloudwatch, "_evaluate_alarm", lambda alarm: None)
    patches.replace(cloudwatch, "_metric_bucket", _bucket)
    patches.replace(cloudwatch, "_evict_old_metrics", samples.evict)
    patches.wrap(cloudwatch, "_dispatch_alarm_actions", announce)
    patches.wrap(cloudwatch, "_put_metric_alarm", operations.put_metric_alarm)
    patches.wrap(cloudwatch, "_get_metric_data", operations.get_metric_data)
    patches.wrap(cloudwatch, "_set_alarm_state", operations.set_alarm_state)
    patches.wrap(cloudwatch, "_put_metric_data", operations.put_metric_data)
    patches.wrap(cloudwatch, "_get_metric_statistics", operations.get_metric_statistics)
    patches.wrap(cloudwatch, "_put_composite_alarm", operations.put_composite_alarm)
    patches.wrap(cloudwatch, "_put_dashboard", operations.put_dashboard)


def _bucket(key: tuple[Any, ...]) -> Points:
    """Return the points of a metric, which are kept in arrays."""
    points = cloudwatch._metrics.get(key)
    if points is None:
        points = cloudwatch._metrics[key] = Points()
    return points
