"""Call the ECS API in this process, over MiniStack's stores, without running a task."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ministack.services import ec2, ecs

from kit.local.ecs import wire
from kit.local.ecs.operations import handlers_of
from kit.local.ecs.scheduler import Scheduler
from kit.local.ecs.timing import Timing

SUBNET = "subnet-api"
NETWORK = {"awsvpcConfiguration": {"subnets": [SUBNET]}}
CONTAINER: dict[str, Any] = {"name": "main", "image": "registry/web:latest"}
FARGATE: dict[str, Any] = {
    "family": "web", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
    "containerDefinitions": [CONTAINER],
}  # fmt: skip


class Api:
    """The handlers of one scheduler that is not started."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(timing=Timing(), rng=random.Random(1), target_health=lambda *_: "unused")
        self._handlers = handlers_of(self.scheduler)

    def call(self, action: str, **request: Any) -> dict[str, Any]:
        """Call an operation that is answered."""
        status, _, body = wire.answer(self._handlers[action], request)
        assert status == 200, body
        return json.loads(body)

    def refused(self, action: str, **request: Any) -> str:
        """Return the code with which a request is refused."""
        status, _, body = wire.answer(self._handlers[action], request)
        assert status == 400, body
        return json.loads(body)["__type"]

    def service(self, **request: Any) -> dict[str, Any]:
        """Return a request that creates a service."""
        return {
            "cluster": "c", "serviceName": "api", "taskDefinition": "web", "desiredCount": 0, "launchType": "FARGATE",
            "networkConfiguration": NETWORK, **request,
        }  # fmt: skip


@contextmanager
def api_running() -> Iterator[Api]:
    """Yield the API with one cluster, one subnet and one task definition."""
    ec2._subnets[SUBNET] = {
        "SubnetId": SUBNET, "VpcId": "vpc-api", "AvailabilityZone": "us-east-1a", "CidrBlock": "10.0.0.0/24",
    }  # fmt: skip
    api = Api()
    try:
        api.call("CreateCluster", clusterName="c")
        api.call("RegisterTaskDefinition", **FARGATE)
        yield api
    finally:
        ecs.reset()
        ec2._subnets.pop(SUBNET, None)


@pytest.fixture
def api() -> Iterator[Api]:
    with api_running() as running:
        yield running
