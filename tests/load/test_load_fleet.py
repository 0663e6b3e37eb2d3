"""A fleet starts the tasks of a load, orders it when all are ready, and says which of them died and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kit.errors import CloudError, EvidenceMissing
from kit.load.fleet import LEAD_S, LoadFleet, Place
from kit.load.ordered_load import STOP, Load, read_load
from tests.load.bucket import PLAN, PROGRESS, Bucket

PLACE = Place(cluster="c", task_definition="d", subnets=("s-1", "s-2"), security_group="g", bucket="artifacts")


class Ecs:
    """ECS whose tasks are ready at once, and end when they are told to or when the test says so."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.requests: list[dict[str, Any]] = []
        self.ends: dict[int, int | None] = {}  # task → exit code
        self.stopped: list[str] = []
        self.refusal = ""
        self.ready = True
        self.unstoppable = ""

    def run_task(self, **request: Any) -> dict[str, Any]:
        index = len(self.requests)
        if self.refusal and index == 1:
            return {"tasks": [], "failures": [{"reason": self.refusal}]}
        self.requests.append(request)
        if self.ready:
            self._bucket.objects[f"run-1/load/ready/shard-{index:05d}.json"] = b"{}"
        return {"tasks": [{"taskArn": f"task-{index}"}], "failures": []}

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        assert cluster == "c"
        return {"tasks": [self._described(int(arn.removeprefix("task-"))) for arn in tasks]}

    def _described(self, index: int) -> dict[str, Any]:
        if index not in self.ends:
            return {"taskArn": f"task-{index}", "lastStatus": "RUNNING", "containers": [{}]}
        containers = [{"exitCode": code} if (code := self.ends[index]) is not None else {}]
        described = {"taskArn": f"task-{index}", "lastStatus": "STOPPED", "containers": containers}
        return {**described, "stoppedReason": "Essential container in task exited"}

    def stop_task(self, *, cluster: str, task: str, reason: str) -> None:
        if task == self.unstoppable:
            raise ClientError({"Error": {"Code": "ServerException", "Message": "busy"}}, "StopTask")
        self.stopped.append(task)


class Session:
    def __init__(self, bucket: Bucket) -> None:
        self.s3, self.ecs = bucket, Ecs(bucket)

    def client(self, name: str) -> Any:
        return getattr(self, name)


class Clock:
    """A clock that moves only when someone sleeps."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def now(self) -> float:
        return self.now_s

    def sleep(self, s: float) -> None:
        self.now_s += s


@pytest.fixture
def session(bucket: Bucket) -> Session:
    return Session(bucket)


def fleet_of(session: Session, tmp_path: Path, clock: Clock | None = None) -> LoadFleet:
    clock = clock or Clock()
    return LoadFleet.start(
        session, PLACE, PLAN, tmp_path / "history", run_id="run-1", tasks=3, now=clock.now, sleep=clock.sleep
    )


def test_a_fleet_orders_its_load_when_all_tasks_are_ready_and_returns_at_the_common_start(session, artifacts, tmp_path):
    clock = Clock()
    fleet = fleet_of(session, tmp_path, clock)
    assert fleet.started_at == clock.now_s == 1_000 + LEAD_S
    assert read_load(artifacts) == Load(plan=PLAN, shards=3, starts_at_ms=1_008_000)
    commands = [one["overrides"]["containerOverrides"][0]["command"] for one in session.ecs.requests]
    assert [command[-1] for command in commands] == ["0", "1", "2"]
    assert {one["startedBy"] for one in session.ecs.requests} == {"run-1"}
    # The faults of a run are targeted by tags that the stack has, so its load tasks must not inherit them.
    assert {"tags", "propagateTags"} & {name for one in session.ecs.requests for name in one} == set()


def test_tasks_that_are_never_ready_are_stopped(session, tmp_path):
    session.ecs.ready = False
    with pytest.raises(CloudError, match="3 of 3 load tasks were not ready within 180 s"):
        fleet_of(session, tmp_path)
    assert session.ecs.stopped == ["task-0", "task-1", "task-2"]


def test_a_task_that_ends_before_it_is_ready_is_told_with_its_reason(session, tmp_path):
    session.ecs.ready, session.ecs.ends = False, {2: 137}
    with pytest.raises(CloudError, match=r"load task 2 did not start: Essential .* exited \(exit code 137\)"):
        fleet_of(session, tmp_path)
    assert session.ecs.stopped == ["task-0", "task-1", "task-2"]


def test_a_task_that_ecs_refuses_stops_those_before_it(session, tmp_path):
    session.ecs.refusal = "RESOURCE:MEMORY"
    with pytest.raises(CloudError, match="starting load task 1: RESOURCE:MEMORY"):
        fleet_of(session, tmp_path)
    assert session.ecs.stopped == ["task-0"]


def test_progress_is_added_over_all_tasks_and_waits_for_the_first_of_each(session, artifacts, tmp_path):
    fleet = fleet_of(session, tmp_path)
    for index, p95_ms in enumerate((5.0, None)):
        artifacts.put_json(f"load/progress/shard-0000{index}.json", PROGRESS | {"p95_ms_last": p95_ms})
    assert fleet.progress() is None
    artifacts.put_json("load/progress/shard-00002.json", PROGRESS | {"p95_ms_last": 9.0, "t": 0.5})
    progress = fleet.progress()
    assert progress is not None
    assert (progress["sent"], progress["ok"], progress["p95_ms_last"], progress["t"]) == (6, 6, 9.0, 0.5)
    assert (tmp_path / "history" / "progress.json").exists()


@pytest.mark.parametrize(("code", "shown"), [(137, "exit code 137"), (3, "exit code 3"), (None, "no exit code")])
def test_a_task_that_died_is_missing_evidence(session, tmp_path, code, shown):
    fleet = fleet_of(session, tmp_path)
    session.ecs.ends = {1: code}
    with pytest.raises(EvidenceMissing, match=f"task of shard 1 of 3 died: Essential .* \\({shown}\\)"):
        fleet.progress()


def test_a_task_that_failed_is_told_in_its_own_words(session, artifacts, tmp_path):
    fleet = fleet_of(session, tmp_path)
    artifacts.put_json("load/failed/shard-00001.json", {"error": "shard 1 of 3 was ready 2.000 s after the start"})
    session.ecs.ends = {1: 3}
    with pytest.raises(EvidenceMissing, match=r"shard 1 of 3 died: .* \(exit code 3\): shard 1 of 3 was ready 2.000 s"):
        fleet.progress()


def test_tasks_are_all_stopped_also_if_one_cannot_be(session, tmp_path):
    fleet = fleet_of(session, tmp_path)
    session.ecs.unstoppable = "task-0"
    with pytest.raises(CloudError, match="stopping load task task-0"):
        fleet.close()
    assert session.ecs.stopped == ["task-1", "task-2"]


def test_tasks_that_do_not_end_in_time_are_missing_evidence(session, artifacts, tmp_path):
    fleet = fleet_of(session, tmp_path)
    session.ecs.ends = {0: 0, 2: 0}
    with pytest.raises(EvidenceMissing, match="1 of 3 tasks did not end in time"):
        fleet.finish()
    assert artifacts.get_json(STOP) == {"stops_at_ms": 1_012_000}
    fleet.close()
    fleet.close()
    assert session.ecs.stopped == ["task-0", "task-1", "task-2"]


def test_a_fleet_whose_tasks_left_no_history_is_missing_evidence(session, tmp_path):
    fleet = fleet_of(session, tmp_path)
    session.ecs.ends = {0: 0, 1: 0, 2: 0}
    with pytest.raises(EvidenceMissing, match="shard 0 of 3 is missing: it left no history"):
        fleet.finish()
