"""One run of one scenario: the object that a notebook holds, and the commands around a run."""

from kit.gameday.operate import (
    catalogue,
    cloud,
    fidelity_rows,
    guard,
    hypothesis_of,
    notebook_of,
    start_watchdog,
    stop_run,
)
from kit.gameday.parameters import Parameters, from_notebook
from kit.gameday.run import GameDay, VerdictNotPass

__all__ = [
    "GameDay",
    "Parameters",
    "VerdictNotPass",
    "catalogue",
    "cloud",
    "fidelity_rows",
    "from_notebook",
    "guard",
    "hypothesis_of",
    "notebook_of",
    "start_watchdog",
    "stop_run",
]
