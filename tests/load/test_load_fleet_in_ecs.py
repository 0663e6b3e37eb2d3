"""Tasks of the local AWS send a load as ECS runs them, and a shard that dies, is stopped or is late is named."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from kit import aws, deploy
from kit.errors import CloudError, EvidenceMissing
from kit.gameday import load_source
from kit.load import LoadPlan, read_history
from kit.load.artifacts import Artifacts
from kit.load.fleet import LoadFleet, Place, _run_task
from kit.load.ordered_load import READY, shard_name
from kit.load.shards import operations_before
from tests.load.load_exchange import Exchange, plan_of
from tests.polling import wait_until

pytestmark = pytest.mark.slow

TASKS = 2
STACK_RUN = "test-load-fleet"
ENDS_S_MAX = 30.0


@pytest.fixture(scope="module")
def outputs(local_session: aws.Session) -> Iterator[Mapping[str, str]]:
    yield load_source.deploy_tasks(local_session, STACK_RUN, timeout_s=60)
    deploy.tear_down(local_session, load_source.stack_name(STACK_RUN), timeout_s=60)
    assert deploy.find_stacks(local_session, run_id=STACK_RUN) == []
    assert [one for one in psutil.process_iter(["cmdline"]) if "kit.load.task" in (one.info["cmdline"] or [])] == []


class Rig:
    """A fleet of one run against an exchange of this process."""

    def __init__(self, session: aws.Session, outputs: Mapping[str, str], url: str, folder: Path, run_id: str) -> None:
        self.plan: LoadPlan = plan_of(url, rate_per_s=60.0, duration_max_s=60.0)
        self.place = Place.from_outputs(outputs)
        self.artifacts = Artifacts(s3=session.client("s3"), bucket=self.place.bucket, run_id=run_id)
        self.history = folder / "history"
        self.fleet: LoadFleet | None = None
        self._session = session
        self._run_id = run_id

    def start(self, now: Callable[[], float] = time.time) -> LoadFleet:
        self.fleet = LoadFleet.start(
            self._session, self.place, self.plan, self.history, run_id=self._run_id, tasks=TASKS, now=now
        )
        return self.fleet

    def start_task(self, index: int) -> str:
        return _run_task(self._session, self.place, self._run_id, index)

    def stop_task(self, index: int) -> None:
        assert self.fleet is not None
        self._session.client("ecs").stop_task(cluster=self.place.cluster, task=self.fleet._tasks[index])

    def exit_codes(self, arn: str) -> list[int]:
        """Return how the containers of a task ended; nothing while it runs."""
        tasks = self._session.client("ecs").describe_tasks(cluster=self.place.cluster, tasks=[arn])["tasks"]
        return [container["exitCode"] for container in tasks[0]["containers"] if "exitCode" in container]

    def pid(self, index: int) -> int:
        """Return the process of one task."""
        words = ["--run-id", self._run_id, "--shard", str(index)]
        for process in psutil.process_iter(["cmdline"]):
            line = process.info["cmdline"] or []
            # A supervisor's command line contains its program's; it runs in isolated mode.
            if line[-4:] == words and "-I" not in line[:2]:
                return process.pid
        raise AssertionError(f"no process of {self._run_id}'s task {index}")

    def failure(self) -> str:
        """Follow the fleet until a task of it is found dead."""
        assert self.fleet is not None
        deadline = time.monotonic() + ENDS_S_MAX
        while time.monotonic() < deadline:
            try:
                self.fleet.progress()
            except EvidenceMissing as error:
                return str(error)
            time.sleep(0.2)
        raise AssertionError("no task failed")


@pytest.fixture
def rig(
    local_session: aws.Session,
    outputs: Mapping[str, str],
    exchange_thread: Exchange,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Rig]:
    run_id = request.node.name.replace("_", "-")[5:45].strip("-")
    made = Rig(local_session, outputs, exchange_thread.url, tmp_path, run_id)
    yield made
    if made.fleet is not None:
        made.fleet.close()


def test_tasks_send_the_whole_load_and_a_second_task_of_a_shard_does_not_disturb_it(rig: Rig):
    fleet = rig.start()
    second = rig.start_task(1)
    wait_until(lambda: rig.exit_codes(second) == [3], "the end of the second task", ENDS_S_MAX)
    wait_until(lambda: (fleet.progress() or {"sent": 0})["sent"] > 100, "a hundred requests", ENDS_S_MAX)
    stats = fleet.finish()
    history = read_history(rig.history)
    assert stats.intended == history.stats.intended == operations_before(rig.plan, history.summary["issued_until_ns"])
    assert history.summary["shards"] == TASKS
    assert {op_id % TASKS for op_id in history.attempts["op_id"]} == set(range(TASKS))


def test_a_killed_task_is_named(rig: Rig):
    fleet = rig.start()
    os.kill(rig.pid(1), signal.SIGKILL)
    assert "load: task of shard 1 of 2 died: " in rig.failure()
    with pytest.raises(EvidenceMissing, match="task of shard 1 of 2 died"):
        fleet.finish()
    assert not (rig.history / "summary.json").exists()


def test_a_stopped_task_is_named_with_its_own_words(rig: Rig):
    rig.start()
    rig.stop_task(0)
    assert "shard 0 of 2 died" in (problem := rig.failure())
    assert "load task 0: stopped before the end of its load" in problem


def test_a_late_task_is_named_with_how_late_it_was(rig: Rig):
    """The process of task 1 does not run from before the order until after the common start."""
    held: list[int] = []

    def now() -> float:
        names = [f"{READY}/{shard_name(index)}.json" for index in range(TASKS)]
        if not held and all(rig.artifacts.get_json(name) is not None for name in names):
            held.append(rig.pid(1))
            os.kill(held[0], signal.SIGSTOP)
        return time.time()

    rig.start(now)
    time.sleep(0.5)
    os.kill(held[0], signal.SIGCONT)
    problem = rig.failure()
    assert "task of shard 1 of 2 died" in problem
    assert "shard 1 of 2 was ready" in problem and "after the common start > 0.1 s" in problem


def test_a_task_that_cannot_start_is_named(rig: Rig, outputs: Mapping[str, str]):
    rig.place = Place.from_outputs({**outputs, "LoadTaskDefinition": "no-such-family"})
    with pytest.raises(CloudError, match="starting load task 0"):
        rig.start()
