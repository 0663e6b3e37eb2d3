"""Preview, start, watch and stop AWS FIS experiments, and prove their effects by evidence that is not from FIS."""

from kit.faults.experiments import Experiment, preview, start, stop, stop_all, unproven, watch
from kit.faults.proofs import how_proven, prove
from kit.faults.tasks import may_hang_tasks, unexplained_stops

__all__ = [
    "Experiment",
    "how_proven",
    "may_hang_tasks",
    "preview",
    "prove",
    "start",
    "stop",
    "stop_all",
    "unexplained_stops",
    "unproven",
    "watch",
]
