"""Record what a service was deployed with (its revisions), and how each of its deployments went."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kit.local.ecs.tasks import Task, count_tasks


class ServiceDeploymentStatus(StrEnum):
    """The states of a service deployment."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCESSFUL = "SUCCESSFUL"
    STOPPED = "STOPPED"
    ROLLBACK_IN_PROGRESS = "ROLLBACK_IN_PROGRESS"
    ROLLBACK_SUCCESSFUL = "ROLLBACK_SUCCESSFUL"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"


ENDED = frozenset({
    ServiceDeploymentStatus.SUCCESSFUL, ServiceDeploymentStatus.STOPPED, ServiceDeploymentStatus.ROLLBACK_SUCCESSFUL,
    ServiceDeploymentStatus.ROLLBACK_FAILED,
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What the tasks of one deployment are made of. `deployment_id` identifies these tasks."""

    arn: str
    deployment_id: str
    record: dict[str, Any]
    created_at: float = field(default_factory=time.time)

    def counts(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """Return the revision's part in a deployment. `tasks` are the service's tasks."""
        own = [task for task in tasks if task.deployment_id == self.deployment_id]
        running, pending = count_tasks(own)
        requested = sum(task.live for task in own)
        return {
            "arn": self.arn,
            "requestedTaskCount": requested,
            "runningTaskCount": running,
            "pendingTaskCount": pending,
        }


@dataclass(slots=True, kw_only=True)
class ServiceDeployment:
    """One deployment in the history of a service."""

    arn: str
    target: Revision
    sources: tuple[Revision, ...] = ()
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)
    finished_at: float | None = None
    status: ServiceDeploymentStatus = ServiceDeploymentStatus.IN_PROGRESS
    reason: str = ""
    rollback: dict[str, Any] | None = None
    failure_count: int = 0
    threshold: int = 0
    breaker: str = "MONITORING"
    alarms: dict[str, Any] = field(default_factory=dict)

    def move(self, status: ServiceDeploymentStatus, reason: str = "") -> None:
        """Change the status."""
        self.status, self.updated_at = status, time.time()
        self.reason = reason or self.reason
        self.finished_at = self.updated_at if status in ENDED else None

    def roll_back(self, reason: str, to: Revision) -> None:
        """Begin to return to the revision `to`."""
        self.rollback = {"reason": reason, "startedAt": time.time(), "serviceRevisionArn": to.arn}
        self.move(ServiceDeploymentStatus.ROLLBACK_IN_PROGRESS, reason)

    def brief(self, service_arn: str, cluster_arn: str) -> dict[str, Any]:
        """Return the entry of ListServiceDeployments."""
        record = {
            "serviceDeploymentArn": self.arn,
            "serviceArn": service_arn,
            "clusterArn": cluster_arn,
            "startedAt": self.created_at,
            "createdAt": self.created_at,
            "finishedAt": self.finished_at,
            "targetServiceRevisionArn": self.target.arn,
            "status": self.status.value,
            "statusReason": self.reason or None,
        }
        return {name: value for name, value in record.items() if value is not None}

    def describe(
        self, *, service_arn: str, cluster_arn: str, configuration: dict[str, Any], tasks: Sequence[Task]
    ) -> dict[str, Any]:
        """Return the record of DescribeServiceDeployments."""
        brief = self.brief(service_arn, cluster_arn)
        brief.pop("targetServiceRevisionArn")
        record = {
            **brief,
            "updatedAt": self.updated_at,
            "stoppedAt": self.finished_at if self.status is ServiceDeploymentStatus.STOPPED else None,
            "sourceServiceRevisions": [source.counts(tasks) for source in self.sources],
            "targetServiceRevision": self.target.counts(tasks),
            "deploymentConfiguration": configuration,
            "rollback": self.rollback,
            "deploymentCircuitBreaker": {
                "status": self.breaker,
                "failureCount": self.failure_count,
                "threshold": self.threshold,
            },
            "alarms": self.alarms or None,
        }
        return {name: value for name, value in record.items() if value is not None}
