"""Preview, start, watch and stop AWS FIS experiments, and prove their effects by evidence that is not from FIS."""

from kit.faults.executions import stop_executions
from kit.faults.experiments import Experiment, acting_experiment, preview, start, stop, stop_all, unproven, watch
from kit.faults.proofs import how_proven, prove
from kit.faults.tasks import may_hang_tasks, unexplained_stops

__all__ = [
    "Experiment",
    "acting_experiment",
    "how_proven",
    "may_hang_tasks",
    "preview",
    "prove",
    "start",
    "stop",
    "stop_all",
    "stop_executions",
    "unexplained_stops",
    "unproven",
    "watch",
]
