"""A service, its deployments and its event log: what they are, and how AWS words them.

Owns the records and their rendering (DescribeServices). Must not know how a deployment proceeds.
"""

import math
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kit.local.ecs.placement import Subnet
from kit.local.ecs.tasks import Status, Target, Task
from kit.local.ecs.timing import EVENTS_PER_SERVICE_MAX

# The circuit breaker trips at half of the desired count, but not before 3 and not after 200 failed tasks.
BREAKER_SHARE = 0.5
BREAKER_MIN = 3
BREAKER_MAX = 200


class Rollout(StrEnum):
    """How far a deployment is."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(slots=True, kw_only=True)
class Deployment:
    """One rollout of one task definition."""

    definition: dict[str, Any]
    desired: int
    rollout: Rollout = Rollout.IN_PROGRESS
    reason: str = ""
    failed_tasks: int = 0
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)
    # AWS's ids are nineteen digits.
    id: str = field(default_factory=lambda: f"ecs-svc/{uuid.uuid4().int % 10**19:019d}")

    def __post_init__(self) -> None:
        self.reason = self.reason or f"ECS deployment {self.id} in progress."

    @property
    def definition_arn(self) -> str:
        return self.definition["taskDefinitionArn"]

    def conclude(self, rollout: Rollout, reason: str) -> None:
        """Set the rollout's state."""
        self.rollout, self.reason, self.updated_at = rollout, reason, time.time()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How a rolling deployment may go: `deploymentConfiguration`."""

    minimum_percent: int = 100
    maximum_percent: int = 200
    breaker: bool = False
    rollback: bool = False

    @classmethod
    def of(cls, configuration: dict[str, Any] | None) -> "Limits":
        """From the API's shape; strings are taken because templates hold them."""
        given = configuration or {}
        breaker = given.get("deploymentCircuitBreaker") or {}
        return cls(
            minimum_percent=int(given.get("minimumHealthyPercent", 100)),
            maximum_percent=int(given.get("maximumPercent", 200)),
            breaker=is_true(breaker.get("enable")),
            rollback=is_true(breaker.get("rollback")),
        )

    def describe(self) -> dict[str, Any]:
        return {
            "deploymentCircuitBreaker": {"enable": self.breaker, "rollback": self.rollback},
            "maximumPercent": self.maximum_percent,
            "minimumHealthyPercent": self.minimum_percent,
            "strategy": "ROLLING",
        }


def is_true(value: Any) -> bool:
    """A boolean of the API or of a template, where it may be a string."""
    return str(value).lower() == "true"


@dataclass(slots=True, kw_only=True)
class Service:
    """One ECS service. Mutable: the scheduler's loop is its only writer."""

    name: str
    account: str
    region: str
    cluster: str
    desired: int
    deployments: list[Deployment]  # the primary one first
    subnets: tuple[Subnet, ...]
    targets: tuple[Target, ...] = ()
    limits: Limits = field(default_factory=Limits)
    grace_s: float = 0.0
    propagate: str = "NONE"
    tags: dict[str, str] = field(default_factory=dict)
    managed_tags: bool = False
    launch_type: str = "FARGATE"
    request: dict[str, Any] = field(default_factory=dict)  # what is only echoed
    status: str = "ACTIVE"
    created_at: float = field(default_factory=time.time)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=EVENTS_PER_SERVICE_MAX))
    steady: bool = False
    failed_starts: int = 0  # in a row
    not_before: float = 0.0  # loop time of the next start that throttling allows
    last_completed: Deployment | None = None
    failed_ids: set[str] = field(default_factory=set)  # deployments that the circuit breaker ended

    @property
    def arn(self) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account}:service/{self.cluster}/{self.name}"

    @property
    def cluster_arn(self) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account}:cluster/{self.cluster}"

    @property
    def primary(self) -> Deployment:
        return self.deployments[0]

    @property
    def breaker_at(self) -> int:
        """How many failed tasks trip the circuit breaker."""
        return max(BREAKER_MIN, min(BREAKER_MAX, math.ceil(self.desired * BREAKER_SHARE)))

    def event(self, message: str) -> None:
        """Add to the service's event log, newest first."""
        record = {"id": str(uuid.uuid4()), "createdAt": time.time(), "message": f"(service {self.name}) {message}"}
        self.events.appendleft(record)

    def describe(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """The record of DescribeServices; `tasks` are those of the service."""
        running, pending = counts(tasks)
        configuration = self.request.get("networkConfiguration") or {}
        return {
            "serviceArn": self.arn,
            "serviceName": self.name,
            "clusterArn": self.cluster_arn,
            "loadBalancers": self.request.get("loadBalancers") or [],
            "serviceRegistries": self.request.get("serviceRegistries") or [],
            "status": self.status,
            "desiredCount": self.desired,
            "runningCount": running,
            "pendingCount": pending,
            "launchType": self.launch_type,
            "platformVersion": "LATEST",
            "platformFamily": "Linux",
            "taskDefinition": self.primary.definition_arn,
            "deploymentConfiguration": self.limits.describe(),
            "deployments": [self._deployment(d, tasks, configuration) for d in self.deployments],
            "events": list(self.events),
            "createdAt": self.created_at,
            "placementConstraints": [],
            "placementStrategy": [],
            "networkConfiguration": configuration,
            "healthCheckGracePeriodSeconds": int(self.grace_s),
            "schedulingStrategy": "REPLICA",
            "deploymentController": {"type": "ECS"},
            "createdBy": f"arn:aws:iam::{self.account}:root",
            "enableECSManagedTags": self.managed_tags,
            "propagateTags": self.propagate,
            "enableExecuteCommand": is_true(self.request.get("enableExecuteCommand")),
            "availabilityZoneRebalancing": self.request.get("availabilityZoneRebalancing") or "DISABLED",
            "tags": [{"key": key, "value": value} for key, value in self.tags.items()],
        }

    def _deployment(self, deployment: Deployment, tasks: Sequence[Task], network: dict[str, Any]) -> dict[str, Any]:
        running, pending = counts([t for t in tasks if t.deployment_id == deployment.id])
        return {
            "id": deployment.id,
            "status": "PRIMARY" if deployment is self.primary else "ACTIVE",
            "taskDefinition": deployment.definition_arn,
            "desiredCount": deployment.desired,
            "pendingCount": pending,
            "runningCount": running,
            "failedTasks": deployment.failed_tasks,
            "createdAt": deployment.created_at,
            "updatedAt": deployment.updated_at,
            "launchType": self.launch_type,
            "platformVersion": "1.4.0",
            "platformFamily": "Linux",
            "networkConfiguration": network,
            "rolloutState": deployment.rollout.value,
            "rolloutStateReason": deployment.reason,
        }


def counts(tasks: Sequence[Task]) -> tuple[int, int]:
    """(running, pending) as AWS counts: a task that stops is neither."""
    running = sum(t.status is Status.RUNNING for t in tasks)
    pending = sum(t.status in (Status.PROVISIONING, Status.PENDING, Status.ACTIVATING) and t.live for t in tasks)
    return running, pending
