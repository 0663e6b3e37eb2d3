"""Test that a fault begins within 100 ms of `running` and ends within 200 ms of its end.

The limits apply to medians. The effect is observed from the task's own answers or processes, and the action's times are
FIS's own. Both read one clock.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.local.ecs_fixtures import state
from tests.local.fis_pair import Pair, by_name, get
from tests.polling import wait_until

REPETITIONS = 9
BEGINS_S_MAX = 0.100
GONE_S_MAX = 0.200
HOLD_S = 0.5
# A look takes this long at most; a probe that hangs in the fault is itself the effect.
LOOK_S = 0.005
SLOW_S = 0.06


class Watcher:
    """Looks at an effect again and again from a thread; when it was seen first, and when last."""

    def __init__(self, is_there: Callable[[], bool]) -> None:
        self._is_there = is_there
        self._done = threading.Event()
        self.seen: list[float] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _run(self) -> None:
        while not self._done.is_set():
            at = time.time()
            if self._is_there():
                self.seen.append(at)
            time.sleep(LOOK_S)


def assert_begins_and_ends_in_time(
    pair: Pair, actions: Callable[[], dict[str, Any]], is_there: Callable[[], bool], *, stops: bool
) -> None:
    """Run the fault nine times, and check the medians of its beginnings and ends."""
    begins, ends = [], []
    for _ in range(REPETITIONS):
        stopped_at = 0.0
        watcher = Watcher(is_there)
        with watcher.watching():
            experiment_id = pair.rig.running(actions=actions(), targets=pair.targets)
            if stops:
                time.sleep(HOLD_S)
                stopped_at = time.time()
                pair.rig.fis.stop_experiment(id=experiment_id)
            experiment = pair.rig.end(experiment_id)
            time.sleep(GONE_S_MAX + HOLD_S)
        action = experiment["actions"]["hit"]
        began_at = action["startTime"].timestamp()
        begins.append(watcher.seen[0] - began_at)
        ends.append(watcher.seen[-1] - (stopped_at if stops else began_at + HOLD_S))
    assert statistics.median(begins) <= BEGINS_S_MAX, begins
    assert statistics.median(ends) <= GONE_S_MAX, ends


def is_late(pair: Pair, path: str) -> Callable[[], bool]:
    """Return whether a call took as long as the fault makes it, or hung."""

    def look() -> bool:
        took_s, answer = get(f"127.0.0.1:{pair.hit_port}", path, timeout_s=0.1)
        return not answer or took_s > SLOW_S

    return look


@pytest.mark.slow
@pytest.mark.parametrize("stops", [False, True], ids=["by itself", "by a stop"])
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("network-latency", {"delayMilliseconds": "80", "jitterMilliseconds": "0"}),
        ("network-packet-loss", {"lossPercent": "100"}),
        ("network-blackhole-port", {"port": "443", "trafficType": "egress"}),
    ],
)
def test_network_faults_begin_and_end_in_time(pair: Pair, kind: str, parameters: dict[str, str], stops: bool) -> None:
    """The task's own calls to SQS are late or hang during the fault only."""
    duration = "PT1M" if stops else f"PT{HOLD_S}S"
    actions = {"hit": pair.action(kind, duration=duration, **parameters)}
    wait_until(lambda: not is_late(pair, "sqs")(), "the task is quick")
    assert_begins_and_ends_in_time(pair, lambda: actions, is_late(pair, "sqs"), stops=stops)


@pytest.mark.slow
@pytest.mark.parametrize("stops", [False, True], ids=["by itself", "by a stop"])
def test_stress_begins_and_ends_in_time(pair: Pair, stops: bool) -> None:
    """The task's processes are seen stopped during the fault only."""
    actions = {"hit": pair.action("cpu-stress", duration="PT1M" if stops else f"PT{HOLD_S}S", workers="8")}
    (pid,) = by_name(pair)["python"]
    assert_begins_and_ends_in_time(pair, lambda: actions, lambda: state(pid) == "T", stops=stops)


@pytest.mark.slow
def test_a_freeze_begins_and_ends_in_time(pair: Pair) -> None:
    """The signal stops the task, and the end of the experiment continues it."""
    wait = {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}, "startAfter": ["hit"]}
    freeze = pair.action("kill-process", processName="python", signal="SIGSTOP")
    (pid,) = by_name(pair)["python"]
    assert_begins_and_ends_in_time(pair, lambda: {"hit": freeze, "wait": wait}, lambda: state(pid) == "T", stops=True)


@pytest.mark.slow
def test_a_kill_begins_in_time(pair: Pair) -> None:
    """Nine children of the task are killed by name, one after the other.

    Each ends soon after the start of its action.
    """
    begins = []
    for _ in range(REPETITIONS):
        pair.ask_hit("child")
        (pid,) = by_name(pair)["sleep"]
        watcher = Watcher(lambda pid=pid: not is_alive(pid))
        with watcher.watching():
            experiment = pair.rig.run(
                actions={"hit": pair.action("kill-process", processName="sleep", signal="SIGKILL")},
                targets=pair.targets,
            )
            wait_until(lambda seen=watcher.seen: seen, "killed")
        begins.append(watcher.seen[0] - experiment["actions"]["hit"]["startTime"].timestamp())
    assert statistics.median(begins) <= BEGINS_S_MAX, begins


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return state(pid) != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
