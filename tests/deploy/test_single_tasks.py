"""Deleting a stack stops the tasks that no service runs, and waits until they have stopped."""

from __future__ import annotations

import time
from typing import Any

from kit.deploy import stack


class Ecs:
    """A cluster with one task of a service and one of nobody, which needs some looks to stop."""

    def __init__(self, looks_until_stopped: int) -> None:
        self._left = looks_until_stopped
        self.stopped: list[str] = []

    def get_paginator(self, operation: str) -> Ecs:
        assert operation == "list_tasks"
        return self

    def paginate(self, *, cluster: str, desiredStatus: str) -> list[dict[str, Any]]:
        single = ["single"] if ("single" in self.stopped) == (desiredStatus == "STOPPED") else []
        return [{"taskArns": ["served", *single] if desiredStatus == "RUNNING" else single}]

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        return {"tasks": [self._described(arn) for arn in tasks]}

    def _described(self, arn: str) -> dict[str, Any]:
        if arn == "served":
            return {"taskArn": arn, "group": "service:api", "desiredStatus": "RUNNING", "lastStatus": "RUNNING"}
        stopping = arn in self.stopped
        self._left -= stopping
        status = {"desiredStatus": "STOPPED" if stopping else "RUNNING"}
        last = "RUNNING" if not stopping else "STOPPED" if self._left < 0 else "DEACTIVATING"
        return {"taskArn": arn, "group": "family:load", "lastStatus": last, **status}

    def stop_task(self, *, cluster: str, task: str, reason: str) -> None:
        self.stopped.append(task)


class Session:
    """The stack has one cluster."""

    def __init__(self, ecs: Ecs) -> None:
        self._ecs = ecs

    def client(self, name: str) -> Any:
        return self._ecs if name == "ecs" else self

    def describe_stack_resources(self, StackName: str) -> dict[str, Any]:
        cluster = {"ResourceType": "AWS::ECS::Cluster", "ResourceStatus": "CREATE_COMPLETE", "PhysicalResourceId": "c"}
        return {"StackResources": [cluster]}


def test_a_task_of_no_service_is_stopped_once_and_waited_for():
    ecs = Ecs(looks_until_stopped=1)
    stack._stop_tasks(Session(ecs), "gameday-x", time.monotonic() + 10)
    assert ecs.stopped == ["single"]
    assert ecs._described("single")["lastStatus"] == "STOPPED"


def test_the_wait_for_a_task_that_does_not_stop_is_bounded():
    ecs = Ecs(looks_until_stopped=10**6)
    deadline = time.monotonic() + 0.3
    stack._stop_tasks(Session(ecs), "gameday-x", deadline)
    assert time.monotonic() < deadline + 5
