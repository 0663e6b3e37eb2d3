"""Test a run whose load comes from Fargate tasks: it passes, and a load task that dies makes it INVALID."""

from __future__ import annotations

import json
import os
import signal

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PASS, INVALID = 0, 3
LOAD = ("--rate", "40", "-p", "steady_s=8", "-p", "fault_duration_s=14", "-p", "recovery_s=18", "-p", "load_tasks=3")


def test_three_load_tasks_carry_a_run_that_passes(good_run, temporary_files):
    run = good_run(*LOAD)
    assert run.process.returncode == PASS, run.log.read_text()
    summary = json.loads((run.run_dir / "history" / "summary.json").read_text())
    assert summary["shards"] == 3
    assert summary["intended"] > 1_000
    assert run.verdict()["load"]["intended"] == summary["intended"]
    assert "load_tasks=3" in run.verdict()["reproduce"]
    assert run.survivors() == [] and temporary_files() == []


def test_a_load_task_that_is_killed_makes_the_run_invalid(start_run, temporary_files):
    run = start_run("-p", "load_tasks=3", "-p", "steady_s=20")
    run.wait_for_line("steady state: sent")
    os.kill(run.find("-m", "kit.load.task")[0].pid, signal.SIGKILL)
    assert run.end() == INVALID, run.log.read_text()
    assert "of 3 died" in " ".join(run.verdict()["reasons"])
    assert run.survivors() == [] and temporary_files() == []
