"""One run of one scenario: the object that a notebook holds, and the commands around a run."""

from kit.gameday.commands import (
    catalogue,
    cloud,
    fidelity_rows,
    guard,
    hypothesis_of,
    notebook_of,
    start_watchdog,
    stop_run,
)
from kit.gameday.golden_runs import compare_with_golden, record_golden
from kit.gameday.parameters import Parameters, from_notebook
from kit.gameday.run import GameDay, VerdictNotPass

__all__ = [
    "GameDay",
    "Parameters",
    "VerdictNotPass",
    "catalogue",
    "cloud",
    "compare_with_golden",
    "fidelity_rows",
    "from_notebook",
    "guard",
    "hypothesis_of",
    "notebook_of",
    "record_golden",
    "start_watchdog",
    "stop_run",
]
