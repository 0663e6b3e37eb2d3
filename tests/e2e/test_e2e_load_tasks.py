"""Test a run whose load comes from Fargate tasks: it passes, and a load task that dies makes it INVALID.

A command that is killed leaves no load task and no stack, also on a local AWS that outlives it.
"""

from __future__ import annotations

import json

import psutil
import pytest

from kit import deploy
from tests.e2e.conftest import has_words
from tests.polling import wait_for_value

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PASS, INVALID = 0, 3
# The watchdog stops the load tasks, deletes both stacks and then looks again for what began in the meantime.
CLEANED_S_MAX = 60.0
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
    killed = run.find("-m", "kit.load.task")[0]
    shard = killed.cmdline()[-1]
    killed.kill()
    assert run.end() == INVALID, run.log.read_text()
    assert f"load: task of shard {shard} of 3 died" in " ".join(run.verdict()["reasons"])
    assert run.survivors() == [] and temporary_files() == []


def test_a_killed_command_leaves_no_load_task_and_no_stack(cloud, start_run):
    run = start_run("-p", "load_tasks=2", "-p", "steady_s=20")
    run.wait_for_line("steady state: sent")
    assert len(deploy.find_stacks(cloud, run_id="e2e-0")) == 2
    assert len(load_tasks()) == 2
    run.process.kill()
    wait_for_value(lambda: deploy.find_stacks(cloud), [], "stacks of the killed run", CLEANED_S_MAX)
    wait_for_value(load_tasks, [], "load tasks of the killed run", CLEANED_S_MAX)
    wait_for_value(run.survivors, [], "processes of the killed run", CLEANED_S_MAX)


def load_tasks() -> list[int]:
    """Return the processes that send load for a run with the name that these tests give."""
    words = ("-m", "kit.load.task")
    return [one.pid for one in psutil.process_iter() if has_words(one, words) and "e2e-0" in one.cmdline()]
