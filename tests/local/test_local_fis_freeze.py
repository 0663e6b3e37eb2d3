"""Test that a task stopped by SIGSTOP stays stopped until the experiment ends, and fails its health checks."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.local.fis.actions import UNDO
from kit.local.fis.actions.ecs_task_kill_process import UNDO_KIND, TaskKillProcess, _started_at
from kit.local.fis.journal import Journal
from tests.local.ecs_fixtures import state
from tests.local.fis_pair import UP_S_MAX, Pair, by_name, stopped_reason
from tests.local.fis_rig import FisRig, wait_action
from tests.polling import wait_until

# Continues every process after a test that fails.
pytestmark = pytest.mark.usefixtures("no_experiment_left")


def states(pair: Pair) -> set[str]:
    return {state(pid) for pid in by_name(pair)["python"]}


def freeze(pair: Pair, *after: str) -> dict[str, Any]:
    return pair.action("kill-process", *after, processName="python", signal="SIGSTOP")


def test_a_frozen_task_goes_on_when_the_experiment_is_stopped(pair: Pair) -> None:
    """The task stays stopped after its action and is in the journal. It answers again after the experiment."""
    pair.ask_hit("child")
    actions = {"freeze": freeze(pair), "for": wait_action(60, startAfter=["freeze"])}
    experiment_id = pair.rig.running(actions=actions, targets=pair.targets)
    wait_until(lambda: states(pair) == {"T"}, "python is frozen")
    assert {state(pid) for pid in by_name(pair)["sleep"]} == {"S"}
    assert pair.ask_hit(timeout_s=0.3)[1] == {}
    assert pair.rig.open_entries() == [UNDO_KIND]
    pair.rig.fis.stop_experiment(id=experiment_id)
    assert pair.rig.end(experiment_id)["state"]["status"] == "stopped"
    assert pair.ask_hit()[1]["task"] == pair.hit
    assert pair.rig.open_entries() == []


def test_a_frozen_task_goes_on_when_the_experiment_fails(pair: Pair) -> None:
    """The experiment continues the task although no action asked for it."""
    wrong = {"alarmArns": pair.rig.alarm("OK"), "alarmStates": "ALARM"}
    check = {"actionId": "aws:cloudwatch:assert-alarm-state", "parameters": wrong, "startAfter": ["freeze"]}
    experiment = pair.rig.run(actions={"freeze": freeze(pair), "check": check}, targets=pair.targets)
    assert experiment["state"]["status"] == "failed"
    assert pair.ask_hit()[1]["task"] == pair.hit
    assert pair.rig.open_entries() == []


def test_a_later_action_that_continues_the_task_replaces_the_undo(pair: Pair) -> None:
    """After stop, wait and continue, the running experiment has no change left to undo."""
    actions = {
        "freeze": freeze(pair),
        "frozen": wait_action(0.3, startAfter=["freeze"]),
        "thaw": pair.action("kill-process", "frozen", processName="python", signal="SIGCONT"),
        "after": wait_action(60, startAfter=["thaw"]),
    }
    experiment_id = pair.rig.running(actions=actions, targets=pair.targets)
    wait_until(lambda: states(pair) == {"T"}, "python is frozen")
    wait_until(lambda: pair.rig.get(experiment_id)["actions"]["thaw"]["state"]["status"] == "completed", "thawed")
    assert "T" not in states(pair)
    assert pair.rig.open_entries() == []
    pair.rig.fis.stop_experiment(id=experiment_id)
    assert pair.rig.end(experiment_id)["state"]["status"] == "stopped"


def test_the_journal_continues_stopped_processes_but_none_with_a_reused_id(tmp_path: Path) -> None:
    """A new process undoes the stop by process id and start time.

    Repeating the undo, or a wrong start time, has no effect.
    """
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as process:
        try:
            started_at = _started_at(process.pid)
            assert started_at is not None
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: state(process.pid) == "T", "stopped")
            written = Journal(tmp_path)
            written.load()
            written.remember(UNDO_KIND, {"task": "arn", "processes": [[process.pid, started_at + 1]]})
            written.remember(UNDO_KIND, {"task": "arn", "processes": [[process.pid, started_at]]})
            right, wrong = Journal(tmp_path).load()
            asyncio.run(UNDO[UNDO_KIND](SimpleNamespace(), wrong))  # type: ignore[arg-type]
            assert state(process.pid) == "T"
            for _ in range(2):
                asyncio.run(UNDO[UNDO_KIND](SimpleNamespace(), right))  # type: ignore[arg-type]
            wait_until(lambda: state(process.pid) in "SR", "continued")
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("name", "matches"), [("python", True), ("python3", True), ("pyth", False), ("sleep", False), ("web.py", False)]
)
def test_a_name_matches_as_killall_compares_it(name: str, matches: bool) -> None:
    """The whole process name must match, not a word of the command line.

    `python` also matches the interpreter's real name.
    """
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)", "web.py"]) as process:
        try:
            task: Any = SimpleNamespace(pids=lambda: [process.pid])
            # Until the child has become the interpreter it carries the parent's name.
            wait_until(lambda: bool(TaskKillProcess(process_name="python")._find(task)), "started")
            assert bool(TaskKillProcess(process_name=name)._find(task)) is matches
        finally:
            process.kill()


@pytest.mark.slow
def test_a_task_that_stays_frozen_is_unhealthy_and_replaced(rig: FisRig) -> None:
    """Its container health check still runs and fails, and ECS gives this as the reason of the replacement."""
    ask = "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'], timeout=1)"
    check = {"command": ["CMD", "python", "-c", ask], "interval": 5, "timeout": 2, "retries": 1}
    pair = Pair(rig, healthCheck=check)
    try:
        actions = {"freeze": freeze(pair), "for": wait_action(60, startAfter=["freeze"])}
        experiment_id = rig.running(actions=actions, targets=pair.targets)
        wait_until(lambda: "health checks" in stopped_reason(pair), "replaced", 2 * UP_S_MAX)
        rig.fis.stop_experiment(id=experiment_id)
        assert rig.end(experiment_id)["state"]["status"] == "stopped"
        assert pair.rig.open_entries() == []
    finally:
        pair.close()
