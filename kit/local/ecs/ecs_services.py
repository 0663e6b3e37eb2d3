"""Describe ECS services, their deployments and their event log."""

import math
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kit.local.ecs.deployment_alarms import AlarmSettings
from kit.local.ecs.placement import Subnet
from kit.local.ecs.service_history import ENDED, Revision, ServiceDeployment, ServiceDeploymentStatus
from kit.local.ecs.tasks import Target, Task, count_tasks
from kit.local.ecs.timing import DEPLOYMENTS_PER_SERVICE_MAX, EVENTS_PER_SERVICE_MAX
from kit.local.ecs.wire import is_true

# The circuit breaker trips at half of the desired count, at least at 3 and at most at 200 failed tasks.
BREAKER_SHARE = 0.5
BREAKER_MIN = 3
BREAKER_MAX = 200


class RolloutState(StrEnum):
    """The rollout state of a deployment."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(slots=True, kw_only=True)
class Deployment:
    """One rollout of one task definition."""

    definition: dict[str, Any]
    desired: int
    rollout: RolloutState = RolloutState.IN_PROGRESS
    reason: str = ""
    failed_tasks: int = 0
    # Alarms are not watched in a deployment that began while one of them was in ALARM. None while it is not known.
    watches_alarms: bool | None = None
    replaced_at: float | None = None  # loop time when all its tasks were healthy and no others were left
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)
    # AWS's ids are nineteen digits.
    id: str = field(default_factory=lambda: f"ecs-svc/{uuid.uuid4().int % 10**19:019d}")

    def __post_init__(self) -> None:
        self.reason = self.reason or f"ECS deployment {self.id} in progress."

    @property
    def definition_arn(self) -> str:
        return self.definition["taskDefinitionArn"]

    def conclude(self, rollout: RolloutState, reason: str) -> None:
        """Set the rollout state and its reason."""
        self.rollout, self.reason, self.updated_at = rollout, reason, time.time()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentLimits:
    """The limits of a rolling deployment (`deploymentConfiguration`)."""

    minimum_percent: int = 100
    maximum_percent: int = 200
    breaker: bool = False
    rollback: bool = False
    alarms: AlarmSettings | None = None

    @classmethod
    def of(cls, configuration: dict[str, Any] | None) -> "DeploymentLimits":
        """Read the API's structure. Values may be strings, as in templates."""
        given = configuration or {}
        breaker, alarms = given.get("deploymentCircuitBreaker") or {}, given.get("alarms")
        return cls(
            minimum_percent=int(given.get("minimumHealthyPercent", 100)),
            maximum_percent=int(given.get("maximumPercent", 200)),
            breaker=is_true(breaker.get("enable")),
            rollback=is_true(breaker.get("rollback")),
            alarms=None
            if alarms is None
            else AlarmSettings(
                names=tuple(alarms.get("alarmNames") or ()),
                enabled=is_true(alarms.get("enable")),
                rollback=is_true(alarms.get("rollback")),
            ),
        )

    def describe(self) -> dict[str, Any]:
        return {
            **({} if self.alarms is None else {"alarms": self.alarms.describe()}),
            "deploymentCircuitBreaker": {"enable": self.breaker, "rollback": self.rollback},
            "maximumPercent": self.maximum_percent,
            "minimumHealthyPercent": self.minimum_percent,
            "strategy": "ROLLING",
        }


@dataclass(slots=True, kw_only=True)
class Service:
    """One ECS service. Mutable, and written by the scheduler's event loop only."""

    name: str
    account: str
    region: str
    cluster: str
    desired: int
    deployments: list[Deployment]  # the primary one first
    subnets: tuple[Subnet, ...]
    targets: tuple[Target, ...] = ()
    limits: DeploymentLimits = field(default_factory=DeploymentLimits)
    grace_s: float = 0.0
    propagate: str = "NONE"
    tags: dict[str, str] = field(default_factory=dict)
    managed_tags: bool = False
    launch_type: str = "FARGATE"
    request: dict[str, Any] = field(default_factory=dict)  # members that are only echoed
    status: str = "ACTIVE"
    created_at: float = field(default_factory=time.time)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=EVENTS_PER_SERVICE_MAX))
    steady: bool = False
    failed_starts: int = 0  # in a row
    not_before: float = 0.0  # loop time of the next start that throttling allows
    last_completed: Deployment | None = None
    failed_reasons: dict[str, str] = field(default_factory=dict)  # of deployments that failed, by id
    revisions: dict[str, Revision] = field(default_factory=dict)  # by deployment id
    history: deque[ServiceDeployment] = field(default_factory=lambda: deque(maxlen=DEPLOYMENTS_PER_SERVICE_MAX))

    def __post_init__(self) -> None:
        self._begin_history(())

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
    def failure_threshold(self) -> int:
        """The number of failed tasks that trips the circuit breaker."""
        return max(BREAKER_MIN, min(BREAKER_MAX, math.ceil(self.desired * BREAKER_SHARE)))

    def deploy(self, definition: dict[str, Any]) -> None:
        """Begin a new deployment, which becomes the primary one."""
        current = self.history[0]
        if current.status not in ENDED:
            current.move(ServiceDeploymentStatus.STOPPED, "A new deployment replaced it.")
        sources = tuple(self.revisions[d.id] for d in self.deployments)
        self.deployments.insert(0, Deployment(definition=definition, desired=self.desired))
        self._begin_history(sources)
        self.steady = False
        self.stop_throttling()

    def _begin_history(self, sources: tuple[Revision, ...]) -> None:
        primary, number = self.primary, self.primary.id.rpartition("/")[2]
        base = f"arn:aws:ecs:{self.region}:{self.account}"
        revision = Revision(
            arn=f"{base}:service-revision/{self.cluster}/{self.name}/{number}",
            deployment_id=primary.id,
            record={
                "taskDefinition": primary.definition_arn,
                "launchType": self.launch_type,
                "loadBalancers": self.request.get("loadBalancers") or [],
                "networkConfiguration": self.request.get("networkConfiguration"),
                "platformVersion": "1.4.0",
                "platformFamily": "Linux",
            },
        )
        self.revisions[primary.id] = revision
        deployment = ServiceDeployment(
            arn=f"{base}:service-deployment/{self.cluster}/{self.name}/{uuid.uuid4().hex[:21]}",
            target=revision,
            sources=sources,
            threshold=self.failure_threshold,
            breaker="MONITORING" if self.limits.breaker else "DISABLED",
        )
        self.history.appendleft(deployment)
        # Revisions are kept as long as a deployment of the history, or a running one, names them.
        named = {r.deployment_id for d in self.history for r in (d.target, *d.sources)} | {
            d.id for d in self.deployments
        }
        self.revisions = {id: each for id, each in self.revisions.items() if id in named}

    def fail_primary(self, cause: str, reason: str) -> None:
        """Fail the primary deployment because of the `cause`: the circuit breaker or an alarm."""
        deployment = self.primary
        deployment.conclude(RolloutState.FAILED, f"ECS deployment {cause}: {reason}")
        self.failed_reasons[deployment.id] = deployment.reason
        rolled_back = self.history[0].status is ServiceDeploymentStatus.ROLLBACK_IN_PROGRESS
        ended = ServiceDeploymentStatus.ROLLBACK_FAILED if rolled_back else ServiceDeploymentStatus.STOPPED
        self.history[0].move(ended, f"Service deployment stopped: {reason}")
        self.event(f"(deployment {deployment.id}) deployment failed: {reason}")

    def roll_back(self, previous: Deployment, cause: str) -> None:
        """Make a completed deployment the primary one again. Its remaining tasks keep running."""
        failed = self.primary
        failed.desired = 0
        self.deployments = [previous, *(d for d in self.deployments if d is not previous)]
        previous.desired = self.desired
        previous.conclude(
            RolloutState.IN_PROGRESS, f"ECS deployment {cause}: rolling back to deploymentId {previous.id}."
        )
        previous.watches_alarms = False
        self.history[0].roll_back(failed.reason, self.revisions[previous.id])
        self.event(f"rolling back to (deployment {previous.id}).")
        self.steady = False
        self.stop_throttling()

    def drain(self) -> None:
        """Want no tasks any more, because the service is deleted."""
        self.status = "DRAINING"
        self.desired = 0
        for deployment in self.deployments:
            deployment.desired = 0

    def stop_throttling(self) -> None:
        """Forget failed starts, so that tasks may start at once."""
        self.failed_starts, self.not_before = 0, 0.0

    def event(self, message: str) -> None:
        """Add a message to the event log, newest first."""
        record = {"id": str(uuid.uuid4()), "createdAt": time.time(), "message": f"(service {self.name}) {message}"}
        self.events.appendleft(record)

    def describe(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """Return the record of DescribeServices. `tasks` are the service's tasks."""
        running, pending = count_tasks(tasks)
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
            **({"platformVersion": "LATEST", "platformFamily": "Linux"} if self.launch_type == "FARGATE" else {}),
            "taskDefinition": self.primary.definition_arn,
            "currentServiceDeployment": self.history[0].arn,
            "currentServiceRevisions": [self.revisions[d.id].counts(tasks) for d in self.deployments],
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
        running, pending = count_tasks([t for t in tasks if t.deployment_id == deployment.id])
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
            **({"platformVersion": "1.4.0", "platformFamily": "Linux"} if self.launch_type == "FARGATE" else {}),
            "networkConfiguration": network,
            "rolloutState": deployment.rollout.value,
            "rolloutStateReason": deployment.reason,
        }
