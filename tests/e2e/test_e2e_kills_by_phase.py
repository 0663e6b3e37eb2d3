"""SIGKILL of the command in each phase of a run, on a local AWS that outlives it.

Faults, processes and stack are gone afterwards, and the next run on the same AWS is as good as any.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from kit import aws, deploy, scenarios
from kit.faults.experiments import TERMINAL
from kit.gameday.commands import CLOUD_DIR
from kit.local.fis.journal import FILE_NAME as JOURNAL
from tests.polling import wait_for_value, wait_until

pytestmark = pytest.mark.timeout(900)

UNDONE_S_MAX = 2.0
BEGINS_S_MAX = 5.0
# Deleting the stack waits for its tasks to stop; a watchdog looks twice for what began in the meantime.
CLEANED_S_MAX = 60.0
# Phase → the log line, or the file in the run's folder, that shows that the run is in this phase.
PHASES = {"deploy": "image sha256", "steady": "steady state:", "fault": "experiment running", "recovery": "recovery:"}
LAST_PHASE = "reconcile"
# It outlives the command for a while, to see what the command's other processes may still begin.
WATCHDOG = "kit _watchdog"
# Its fault ends a process. ECS replaces the process; there is nothing to undo.
NOTHING_TO_UNDO = ("api-termination",)
BREAKING = [name for name in scenarios.names() if not scenarios.get(name).breaks_nothing]


def faults() -> list[str]:
    """Return the changes in FIS's journal that are not undone, as a restarted server would load them."""
    open_entries: dict[str, str] = {}
    for line in (CLOUD_DIR / "cloud" / JOURNAL).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "remember" in record:
            open_entries[record["remember"]] = record["kind"]
        else:
            del open_entries[record["forget"]]
    return list(open_entries.values())


def experiments(session: aws.Session) -> set[str]:
    return {item["state"]["status"] for item in session.client("fis").list_experiments()["experiments"]}


def enter(run: Any, phase: str) -> None:
    """Follow the run until it is in that phase."""
    if phase in PHASES:
        return run.wait_for_line(PHASES[phase], timeout_s=150)
    summary = run.run_dir / "history" / "summary.json"
    return run.wait_until(summary.exists, 240, "the end of the load")


def command(scenario: str, run_id: str, reports: Any) -> tuple[str, ...]:
    brief = [word for name, value in scenarios.get(scenario).brief.items() for word in ("-p", f"{name}={value}")]
    return (sys.executable, "-m", "kit", "run", scenario, *brief, "--run-id", run_id, "--reports", str(reports))


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "data-throttling" else pytest.mark.matrix)
        for name in BREAKING
    ],
)
def test_a_command_killed_in_any_phase_leaves_nothing_and_the_next_run_is_whole(scenario, cloud, start_run, tmp_path):
    for number, phase in enumerate((*PHASES, LAST_PHASE)):
        run = start_run(command=command(scenario, f"e2e-{number}", tmp_path))
        enter(run, phase)
        run.look()
        if phase == "fault" and scenario not in NOTHING_TO_UNDO:
            # The run logs the start as soon as FIS has accepted the experiment. FIS acts a moment later.
            wait_until(faults, "a fault, without which the kill would prove nothing", BEGINS_S_MAX)
        run.process.kill()
        check_gone(run, cloud, phase)
    last = start_run(command=command(scenario, f"e2e-{len(PHASES) + 1}", tmp_path))
    last.end()
    # CPU contention may fail its latencies, but not the checks of orders and of the fault.
    statuses = {(check["kind"], check["name"]): check["status"] for check in last.verdict()["checks"]}
    assert {status for (kind, _), status in statuses.items() if kind in {"integrity", "fault"}} == {"pass"}, statuses
    assert faults() == [] and deploy.find_stacks(cloud) == []


def check_gone(run: Any, cloud: aws.Session, phase: str) -> None:
    """Check that faults, processes and the stack are gone, in this order, and that there is no verdict."""
    wait_for_value(faults, [], f"faults left by a kill in {phase}", UNDONE_S_MAX)
    run.process.wait(10)
    assert [line for line in run.survivors() if WATCHDOG not in line] == [], phase
    wait_for_value(lambda: deploy.find_stacks(cloud), [], f"stacks left by a kill in {phase}", CLEANED_S_MAX)
    wait_for_value(run.survivors, [], f"processes left by a kill in {phase}", CLEANED_S_MAX)
    assert deploy.find_stacks(cloud) == [] and faults() == [], phase
    assert experiments(cloud) <= TERMINAL, phase
    assert not (run.run_dir / "verdict.json").exists(), phase
