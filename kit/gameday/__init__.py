"""One run of one scenario: its stages, how it is judged, and the commands around it."""

from kit.gameday.collecting import LoadWindow, collect_evidence
from kit.gameday.commands import (
    NOTEBOOK,
    catalogue,
    cloud,
    fidelity_rows,
    hypothesis_of,
    is_known,
    run_watchdog,
    stop_run,
    watched_run,
)
from kit.gameday.deploying import connect, deploy_build, push_build
from kit.gameday.golden_runs import compare_with_golden, record_golden
from kit.gameday.judging import judge_folder
from kit.gameday.parameters import Parameters
from kit.gameday.publishing import publish
from kit.gameday.run import GameDay

__all__ = [
    "NOTEBOOK",
    "GameDay",
    "LoadWindow",
    "Parameters",
    "catalogue",
    "cloud",
    "collect_evidence",
    "compare_with_golden",
    "connect",
    "deploy_build",
    "fidelity_rows",
    "hypothesis_of",
    "is_known",
    "judge_folder",
    "publish",
    "push_build",
    "record_golden",
    "run_watchdog",
    "stop_run",
    "watched_run",
]
