"""CloudWatch and ECS → tables over time: what the platform saw, apart from what clients saw.

Owns which metrics a game day keeps and the sampling of tasks; judges nothing.
Tables have `t` in epoch seconds. A missing datapoint is a missing row, never a zero.
"""

from kit.metrics.alarms import alarm_history, guardrails
from kit.metrics.meters import Meters
from kit.metrics.series import BROKER_SERIES, EDGE_SERIES, series
from kit.metrics.tasks import Gap, TaskWatch, task_table

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
