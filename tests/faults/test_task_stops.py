"""Which stops of tasks the experiment or the scheduler explains, from ECS's own words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from kit import faults
from kit.model import Deployment, FaultWindow

T0 = 1_700_000_000.0
DEPLOYMENT = Deployment(stack_name="s", run_id="r", api_url="http://x", outputs={"ClusterName": "c"})
UNHEALTHY = "Task failed container health checks"


class Ecs:
    """The answers of ECS about one stopped task."""

    def __init__(self, **task: Any) -> None:
        self.task: dict[str, Any] = {
            "taskArn": "arn:task/1",
            "group": "service:matcher",
            "availabilityZone": "us-east-1a",
            "lastStatus": "STOPPED",
            "stoppedAt": dt.datetime.fromtimestamp(T0 + 40, dt.UTC),
            "containers": [{"exitCode": 0}],
            **task,
        }

    def client(self, name: str) -> Ecs:
        assert name == "ecs"
        return self

    def get_paginator(self, name: str) -> Ecs:
        assert name == "list_tasks"
        return self

    def paginate(self, **_: Any) -> Iterator[dict[str, Any]]:
        yield {"taskArns": [self.task["taskArn"]]}

    def describe_tasks(self, **_: Any) -> dict[str, Any]:
        return {"tasks": [self.task]}


def fault(*action_ids: str) -> FaultWindow:
    return FaultWindow(
        experiment_id="EXP1",
        template="T",
        status="completed",
        actions=tuple({"name": "A", "action_id": action_id} for action_id in action_ids),
        targets=({"arn": "arn:subnet/1", "zone": "us-east-1a"},),
        injected_at=T0,
        ended_at=T0 + 60,
    )


def unexplained(window: FaultWindow | None, code: str, reason: str) -> bool:
    found = faults.unexplained_stops(Ecs(stopCode=code, stoppedReason=reason), DEPLOYMENT, window, since=T0)  # type: ignore[arg-type]
    return bool(found)


@pytest.mark.parametrize(
    "action_ids",
    [
        (),
        ("aws:network:disrupt-connectivity",),
        ("aws:ecs:task-network-latency", "aws:ssm:start-automation-execution"),
        ("aws:fis:wait",),
    ],
)
def test_a_task_that_fails_its_own_health_check_is_not_explained_by_a_dependency(action_ids: tuple[str, ...]):
    """Neither a store that cannot be reached nor a slow network makes a task that is alive fail."""
    assert unexplained(fault(*action_ids) if action_ids else None, "ServiceSchedulerInitiated", UNHEALTHY)


@pytest.mark.parametrize("action_id", ["aws:ecs:task-kill-process", "aws:ecs:stop-task", "aws:ecs:task-cpu-stress"])
def test_a_task_whose_process_was_frozen_or_starved_may_fail_its_health_check(action_id: str):
    assert not unexplained(fault(action_id), "ServiceSchedulerInitiated", UNHEALTHY)


def test_other_stops_by_the_scheduler_are_explained():
    assert not unexplained(None, "ServiceSchedulerInitiated", "Scaling activity initiated by (deployment 1)")


def test_an_essential_container_that_exits_is_explained_only_in_the_zone_of_a_fault():
    assert unexplained(None, "EssentialContainerExited", "Essential container in task exited")
    cut = fault("aws:network:disrupt-connectivity")
    assert not unexplained(cut, "EssentialContainerExited", "Essential container in task exited")
