"""The functions that end a run: what it started is stopped and seen ended, and why it did not pass is told."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kit.pipeline.ending import clean_up, diagnose, tell
from kit.pipeline.ending.clean_up import BadInput, NotEnded
from tests.load.bucket import Bucket

RUN = "az-loss-1"


class Conflict(Exception):
    """FIS refuses to stop what is over."""


@dataclass
class Cloud:
    """FIS and ECS, in which a thing that was told to stop has stopped `after_s` later."""

    experiments: dict[str, tuple[str, str]]  # id → (run, status)
    tasks: dict[str, tuple[str, str]]  # arn → (group, last status)
    after_s: float = 1.0
    now_s: float = 1_000.0
    told: dict[str, float] = field(default_factory=dict)

    class exceptions:
        ConflictException = Conflict
        ValidationException = KeyError

    def get_paginator(self, operation: str) -> Any:
        return {"list_experiments": Pages(self._experiments), "list_tasks": Pages(self._tasks)}[operation]

    def _experiments(self, **_: Any) -> list[dict[str, Any]]:
        found = [
            {"id": name, "tags": {"RunId": run}, "state": {"status": "stopped" if self._ended(name) else status}}
            for name, (run, status) in self.experiments.items()
        ]
        return [{"experiments": found[:1]}, {"experiments": found[1:]}]

    def _tasks(self, *, cluster: str, desiredStatus: str) -> list[dict[str, Any]]:
        assert cluster == "c"
        return [{"taskArns": [arn for arn in self.tasks if (arn in self.told) == (desiredStatus == "STOPPED")]}]

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        return {
            "tasks": [
                {"taskArn": arn, "group": self.tasks[arn][0],
                 "lastStatus": "STOPPED" if self._ended(arn) else self.tasks[arn][1]}
                for arn in tasks
            ]
        }  # fmt: skip

    def stop_experiment(self, *, id: str) -> None:
        if self.experiments[id][1] == "completing":
            raise Conflict
        self.told[id] = self.now_s

    def stop_task(self, *, cluster: str, task: str, reason: str) -> None:
        self.told[task] = self.now_s

    def _ended(self, name: str) -> bool:
        return name in self.told and self.now_s >= self.told[name] + self.after_s

    def sleep(self, s: float) -> None:
        self.now_s += s


class Pages:
    def __init__(self, read: Any) -> None:
        self._read = read

    def paginate(self, **asked: Any) -> Any:
        return self._read(**asked)


def aws_of(cloud: Cloud, bucket: Bucket) -> clean_up.Aws:
    return clean_up.Aws(
        fis=cloud, ecs=cloud, s3=bucket, bucket="artifacts", cluster="c", now=lambda: cloud.now_s, sleep=cloud.sleep
    )


def busy(**changes: Any) -> Cloud:
    experiments = {"EXP1": (RUN, "running"), "EXP2": ("other", "running"), "EXP3": (RUN, "completed")}
    tasks = {"t-1": (RUN, "RUNNING"), "t-2": ("other", "RUNNING"), "t-3": (RUN, "PROVISIONING")}
    return Cloud(experiments=experiments, tasks=tasks, **changes)


def test_the_run_s_experiment_and_tasks_are_stopped_and_nobody_else_s():
    cloud, bucket = busy(), Bucket()
    found = clean_up.clean_up(RUN, aws_of(cloud, bucket))
    assert found == {"stopped_experiments": ["EXP1"], "stopped_tasks": ["t-1", "t-3"], "leftovers": []}
    assert sorted(cloud.told) == ["EXP1", "t-1", "t-3"]
    written = json.loads(bucket.objects[f"{RUN}/cleanup.json"])
    assert written["leftovers"] == [] and written["ended_at"] >= 1_001


def test_a_task_that_drains_is_waited_for():
    """ECS lists a task that was told to stop as STOPPED while its container still runs."""
    cloud = busy(after_s=30.0)
    clean_up.clean_up(RUN, aws_of(cloud, Bucket()))
    assert cloud.now_s >= 1_030


def test_what_does_not_end_is_named_and_the_function_fails():
    cloud, bucket = busy(after_s=1e9), Bucket()
    with pytest.raises(NotEnded, match="experiment EXP1 is running; task t-1 is RUNNING; task t-3 is PROVISIONING"):
        clean_up.clean_up(RUN, aws_of(cloud, bucket))
    assert len(json.loads(bucket.objects[f"{RUN}/cleanup.json"])["leftovers"]) == 3


def test_an_experiment_that_is_ending_is_only_waited_for():
    cloud = Cloud(experiments={"EXP1": (RUN, "completing")}, tasks={})
    with pytest.raises(NotEnded, match="EXP1 is completing"):
        clean_up.clean_up(RUN, aws_of(cloud, Bucket()))


def test_a_run_that_is_over_is_left_as_it_is():
    cloud = Cloud(experiments={"EXP3": (RUN, "completed")}, tasks={"t-1": (RUN, "STOPPED")})
    assert clean_up.clean_up(RUN, aws_of(cloud, Bucket()))["leftovers"] == []
    assert cloud.told == {}


@pytest.mark.parametrize("event", [{"run_id": RUN}, {"detail": {"name": RUN, "status": "ABORTED"}}])
def test_the_run_is_named_by_the_state_machine_or_by_its_execution(event: dict[str, Any]):
    assert clean_up.run_of(event) == RUN


@pytest.mark.parametrize("event", [{}, {"run_id": ""}, {"run_id": 7}, {"detail": {}}, {"detail": {"name": None}}])
def test_an_event_without_a_run_is_refused(event: dict[str, Any]):
    with pytest.raises(BadInput, match="must be the id of a run"):
        clean_up.run_of(event)


# ---- diagnose ----

JUDGED = {"verdict": "FAIL", "scenario": "az-loss", "cause": "no-double-fill", "reasons": ["no-double-fill: 2 of 9"]}
PLAN = {
    "facts": {"scenario": "az-loss", "change": "drop-idempotency"},
    "deployment": {
        "outputs": {"ClusterName": "p", "LogGroupName": "/p", "GuardrailAlarms": "a,b", "DashboardName": "d"}
    },
}


class Paper:
    """PaperBroker's services as the function reads them."""

    def __init__(self, broken: str = "") -> None:
        self._broken = broken

    def _refuse(self, name: str) -> None:
        if name == self._broken:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, name)

    def list_tasks(self, *, cluster: str, desiredStatus: str) -> dict[str, Any]:
        self._refuse("list_tasks")
        return {"taskArns": [f"t-{number}" for number in range(40)]}

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        return {"tasks": [{"taskArn": arn, "stoppedReason": "died"} for arn in tasks]}

    def filter_log_events(self, **asked: Any) -> dict[str, Any]:
        self._refuse("filter_log_events")
        return {"events": [{"message": "ERROR once\n"}]}

    def describe_alarms(self, *, AlarmNames: list[str]) -> dict[str, Any]:
        self._refuse("describe_alarms")
        return {"MetricAlarms": [{"AlarmName": name, "StateValue": "OK"} for name in AlarmNames]}


def diagnosed(objects: dict[str, Any], broken: str = "", **event: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    bucket, paper = Bucket(), Paper(broken)
    bucket.objects = {f"{RUN}/{name}": json.dumps(value).encode() for name, value in objects.items()}
    aws = diagnose.Aws(s3=bucket, ecs=paper, logs=paper, cloudwatch=paper, bucket="artifacts")
    found = diagnose.diagnose({"run_id": RUN, "execution": "arn:execution", **event}, aws)
    return found, json.load(io.BytesIO(bucket.objects[f"{RUN}/diagnostics.json"]))


def test_a_failed_run_is_told_by_its_cause_with_links():
    found, kept = diagnosed({"plan.json": PLAN, "judged.json": JUDGED})
    assert found["title"] == "Game day az-loss: FAIL: no-double-fill"
    assert found["data"]["/aws/dedup"]["Value"] == json.dumps({"dedupString": found["title"]})
    assert found["data"]["report"]["Value"] == f"s3://artifacts/{RUN}/report.html"
    assert found["data"]["logs"]["Value"] == "/p"
    assert found["message"].splitlines()[:2] == [
        f"Game day az-loss: FAIL: no-double-fill (run {RUN}, change drop-idempotency)", "no-double-fill: 2 of 9"
    ]  # fmt: skip
    assert len(kept["stopped_tasks"]) == diagnose.STOPPED_TASKS_MAX
    assert (kept["log"], kept["alarms"]) == (["ERROR once"], {"a": "OK: ", "b": "OK: "})


@pytest.mark.parametrize("broken", ["list_tasks", "filter_log_events", "describe_alarms"])
def test_what_cannot_be_read_is_unknown_and_hides_nothing_else(broken: str):
    found, kept = diagnosed({"plan.json": PLAN, "judged.json": JUDGED}, broken)
    part = {"list_tasks": "stopped_tasks", "filter_log_events": "log", "describe_alarms": "alarms"}[broken]
    assert "AccessDenied" in kept[part]["unknown"]
    assert found["verdict"] == "FAIL"


def test_a_run_that_was_not_judged_is_invalid_with_the_error_of_its_judge():
    found, kept = diagnosed({"plan.json": PLAN}, error={"Error": "States.Timeout", "Cause": "too  long"})
    assert (found["verdict"], found["cause"]) == ("INVALID", "States.Timeout")
    assert found["reason"] == "the run was not judged: States.Timeout: too long"
    assert kept["error"]["Error"] == "States.Timeout"


def test_a_run_without_a_plan_is_told_too():
    found, _ = diagnosed({})
    assert found["title"] == "Game day unknown scenario: INVALID: not judged"


def test_nothing_is_longer_than_its_receiver_takes():
    judged = JUDGED | {"cause": "c" * 500, "reasons": ["r" * 3_000, "é" * 3_000]}
    found, _ = diagnosed({"plan.json": PLAN, "judged.json": judged})
    assert len(found["title"]) == 100 and len(found["subject"]) <= 99 and found["subject"].isascii()
    assert len(found["description"]) <= 2_000 and len(found["message"]) <= 700


# ---- tell ----


class Known(Exception):
    """An OpsItem is open for this cause."""


class Receivers:
    """OpsCenter and SNS; keeps what was told."""

    class exceptions:
        OpsItemAlreadyExistsException = Known

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.items: list[str] = []
        self.messages: list[str] = []

    def create_ops_item(self, *, Title: str, **_: Any) -> dict[str, str]:
        if self._error is not None:
            raise self._error
        self.items.append(Title)
        return {"OpsItemId": "oi-1"}

    def publish(self, *, TopicArn: str, Subject: str, Message: str) -> None:
        self.messages.append(Subject)


WORDS, _ = diagnosed({"plan.json": PLAN}, error={"Error": "execution TIMED_OUT", "Cause": "no cause"})


def test_an_execution_that_took_too_long_opens_an_ops_item_and_sends_a_message():
    told = Receivers()
    found = tell.tell(WORDS, told, told, "topic")
    assert found == {"title": "Game day az-loss: INVALID: execution TIMED_OUT", "ops_item": "oi-1"}
    assert told.items == told.messages == ["Game day az-loss: INVALID: execution TIMED_OUT"]


def test_a_cause_that_is_known_is_told_again_without_another_ops_item():
    told = Receivers(Known())
    assert tell.tell(WORDS, told, told, "topic")["ops_item"] == ""
    assert len(told.messages) == 1


def test_a_message_is_sent_also_if_no_ops_item_can_be_opened():
    told = Receivers(RuntimeError("no"))
    with pytest.raises(RuntimeError):
        tell.tell(WORDS, told, told, "topic")
    assert len(told.messages) == 1
