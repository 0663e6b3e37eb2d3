"""CloudWatch and ECS → tables over time: what the platform saw, apart from what clients saw.

Owns which metrics a game day keeps and the sampling of tasks; judges nothing.
Tables have `t` in epoch seconds. A missing datapoint is a missing row, never a zero.
"""

from kit.collect.alarms import alarm_history, guardrails
from kit.collect.metric_points import Meters
from kit.collect.metric_series import BROKER_SERIES, EDGE_SERIES, series
from kit.collect.task_samples import Gap, TaskWatch, task_table

__all__ = [
    "BROKER_SERIES",
    "EDGE_SERIES",
    "Gap",
    "Meters",
    "TaskWatch",
    "alarm_history",
    "guardrails",
    "series",
    "task_table",
]
