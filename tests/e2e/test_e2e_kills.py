"""Kill each part of a run in the middle of the fault. All processes must end, and the verdict must not be PASS."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INVALID = 3
VICTIMS = {
    "papermill": ("-m", "kit", "_execute"),
    "kernel": ("-m", "ipykernel_launcher"),
    "local-aws": ("-m", "kit.local"),
    "load": ("-m", "kit.load"),
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_part_makes_the_run_invalid_and_leaves_nothing(victim, start_run, temporary_files):
    run = start_run()
    run.wait_for_line("experiment running")
    for process in run.find(*VICTIMS[victim]):
        process.kill()
    assert run.end() == INVALID, run.log.read_text()
    assert run.survivors() == []
    assert temporary_files() == []
    assert run.verdict()["verdict"] == "INVALID"
    assert run.verdict()["reasons"] != []
    assert (run.run_dir / "report.html").exists()


def test_a_killed_command_takes_everything_with_it(start_run, temporary_files):
    run = start_run()
    run.wait_for_line("experiment running")
    run.look()
    run.process.kill()
    run.process.wait(10)
    assert run.survivors() == []
    assert temporary_files() == []
    assert not (run.run_dir / "verdict.json").exists()


def test_a_matcher_killed_from_outside_makes_the_run_invalid_but_no_order_wrong(start_run):
    """The orders are right, but the run is no evidence: something other than the experiment broke the system."""
    run = start_run()
    run.wait_for_line("experiment running")
    # Both matchers: the experiment explains the end of the one in the lost zone, and nothing explains the other's.
    for process in run.find("-m", "paperbroker.main", "matcher"):
        process.kill()
    assert run.end() == INVALID, run.log.read_text()
    assert run.survivors() == []
    checks = {(check["kind"], check["name"]): check["status"] for check in run.verdict()["checks"]}
    assert checks["fault", "no-unexplained-stops"] == "invalid"
    assert "fail" not in {status for (kind, _), status in checks.items() if kind == "integrity"}


def test_ctrl_c_on_make_ends_everything(start_run, tmp_path, temporary_files):
    brief = "-p steady_s=5 -p fault_duration_s=10 -p recovery_s=5 -p past_orders=200 --rate 20"
    arguments = f"--run-id e2e-0 --reports {tmp_path} {brief}"
    run = start_run(command=("make", "-C", str(ROOT), "gameday", f"ARGS={arguments}"))
    run.wait_for_line("experiment running", timeout_s=240)
    run.look()
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.end() != 0
    assert run.survivors() == []
    assert temporary_files() == []
    assert run.verdict()["verdict"] == "INVALID"
    assert "SIGINT" in " ".join(run.verdict()["reasons"])
