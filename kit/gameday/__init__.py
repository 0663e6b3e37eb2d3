"""One run of one scenario: the object that a notebook holds, and the commands around a run."""

from kit.gameday.commands import (
    catalogue,
    cloud,
    fidelity_rows,
    hypothesis_of,
    notebook_of,
    run_watchdog,
    stop_run,
    watched_run,
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
    "hypothesis_of",
    "notebook_of",
    "record_golden",
    "run_watchdog",
    "stop_run",
    "watched_run",
]
