"""Read what the platform showed of a run, apart from what clients saw, and keep it in the run's folder.

Tables have `t` in epoch seconds. A missing datapoint is a missing row, never a zero.
"""

from kit.collect.alarms import alarm_history, guardrails
from kit.collect.ledger import read_events
from kit.collect.metric_points import Meters
from kit.collect.metric_series import BROKER_SERIES, CONFLICTS, EDGE_SERIES, QUEUE_SERIES, TABLE_SERIES, series
from kit.collect.observations import Observations, observe
from kit.collect.run_folder import (
    OBSERVATIONS_FILE,
    Cleanup,
    read_cleanup,
    read_observations,
    write_cleanup,
    write_observations,
)
from kit.collect.task_samples import Gap, TaskWatch, task_table

__all__ = [
    "BROKER_SERIES",
    "CONFLICTS",
    "EDGE_SERIES",
    "OBSERVATIONS_FILE",
    "QUEUE_SERIES",
    "TABLE_SERIES",
    "Cleanup",
    "Gap",
    "Meters",
    "Observations",
    "TaskWatch",
    "alarm_history",
    "guardrails",
    "observe",
    "read_cleanup",
    "read_events",
    "read_observations",
    "series",
    "task_table",
    "write_cleanup",
    "write_observations",
]
