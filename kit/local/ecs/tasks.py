"""Describe tasks and their containers, as DescribeTasks and the metadata endpoint report them."""

import asyncio
import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kit.local.ecs.placement import Subnet
from kit.local.endpoints import TASK, Endpoint
from kit.local.processes import Process


class Status(StrEnum):
    """The states of a task, in order."""

    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    ACTIVATING = "ACTIVATING"
    RUNNING = "RUNNING"
    DEACTIVATING = "DEACTIVATING"
    STOPPING = "STOPPING"
    DEPROVISIONING = "DEPROVISIONING"
    STOPPED = "STOPPED"


class StopCode(StrEnum):
    """Why a task was stopped, in AWS's codes."""

    FAILED_TO_START = "TaskFailedToStart"
    CONTAINER_EXITED = "EssentialContainerExited"
    USER = "UserInitiated"
    SCHEDULER = "ServiceSchedulerInitiated"


class Health(StrEnum):
    """The result of container health checks."""

    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


_HEALTH_ORDER = (Health.UNHEALTHY, Health.UNKNOWN, Health.HEALTHY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One registration of a task at a target group."""

    group_arn: str
    container: str
    port: int


@dataclass(slots=True, kw_only=True)
class Container:
    """One container of a task. `process` is None until it is started."""

    id: str
    definition: dict[str, Any]
    command: list[str]
    environment: dict[str, str]
    ports: dict[int, int] = field(default_factory=dict)  # container port → host port
    process: Process | None = None
    status: str = "PENDING"
    exit_code: int | None = None
    reason: str = ""
    health: Health = Health.UNKNOWN

    @property
    def name(self) -> str:
        return self.definition["name"]

    @property
    def essential(self) -> bool:
        return str(self.definition.get("essential", True)).lower() != "false"


@dataclass(slots=True, kw_only=True)
class Task:
    """One ECS task. Mutable, and written by the scheduler's event loop only."""

    id: str
    account: str
    region: str
    cluster: str
    definition: dict[str, Any]
    subnet: Subnet
    ip: str
    mac: str
    access_key: str
    secret_key: str
    containers: list[Container]
    tags: dict[str, str]
    service: str = ""
    deployment_id: str = ""
    group: str = ""
    started_by: str = ""
    launch_type: str = "FARGATE"
    capacity_provider: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)
    enable_execute: bool = False
    targets: tuple[Target, ...] = ()
    status: Status = Status.PROVISIONING
    desired: Status = Status.RUNNING
    stop_code: str = ""
    stopped_reason: str = ""
    unhealthy_reason: str = ""  # why the service replaces it; empty while it does not
    failed_start: bool = False  # it ended before it was up, or soon after
    protected_until: float = 0.0  # Unix time until which its service does not stop it
    healthy: bool = False  # as its service counts: up long enough, or healthy in every target group
    version: int = 1
    created_at: float = field(default_factory=time.time)
    pull_started_at: float | None = None
    pull_stopped_at: float | None = None
    connected_at: float | None = None
    started_at: float | None = None
    stopping_at: float | None = None
    execution_stopped_at: float | None = None
    stopped_at: float | None = None
    started_mono: float = 0.0  # loop time of `started_at`
    eni: str = ""
    attachment: str = ""
    stop_requested: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def arn(self) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account}:task/{self.cluster}/{self.id}"

    @property
    def cluster_arn(self) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account}:cluster/{self.cluster}"

    @property
    def definition_arn(self) -> str:
        return self.definition["taskDefinitionArn"]

    @property
    def family(self) -> str:
        return self.definition["family"]

    @property
    def zone(self) -> str:
        return self.subnet.zone

    @property
    def endpoint(self) -> Endpoint:
        """The network endpoint of the task's connections."""
        return Endpoint(
            kind=TASK,
            id=self.id,
            zone=self.subnet.zone,
            subnet=self.subnet.id,
            vpc=self.subnet.vpc,
            service=self.service,
        )

    @property
    def live(self) -> bool:
        """Whether the task was not asked to stop. A service counts its live tasks."""
        return self.desired is Status.RUNNING

    @property
    def running(self) -> bool:
        return self.status is Status.RUNNING and self.live

    @property
    def protected(self) -> bool:
        """Whether scaling in and deployments must not stop the task."""
        return self.protected_until > time.time()

    @property
    def health(self) -> Health:
        """The worst health of the essential containers that have a health check."""
        checked = [c.health for c in self.containers if c.essential and c.definition.get("healthCheck")]
        return min(checked, key=_HEALTH_ORDER.index) if checked else Health.UNKNOWN

    def pids(self) -> list[int]:
        """Return every process of the task, by container, with each container's main process first."""
        return [pid for c in self.containers if c.process is not None for pid in c.process.pids()]

    def signal(self, signum: int) -> int:
        """Send a signal to every process of the task. Returns the number of processes."""
        return sum(c.process.send_all(signum) for c in self.containers if c.process is not None)

    def kill(self) -> None:
        """Kill every process of the task."""
        for container in self.containers:
            if container.process is not None:
                container.process.kill()

    def request_stop(self, code: str, reason: str) -> bool:
        """Ask the task to stop. Returns False if it was asked before; the first reason stays."""
        if not self.live:
            return False
        self.desired = Status.STOPPED
        self.stop_code, self.stopped_reason = code, reason
        self.stopping_at = time.time()
        self.version += 1
        self.stop_requested.set()
        return True

    def describe(self) -> dict[str, Any]:
        """Return the record of DescribeTasks with tags. Absent members are left out, as on AWS."""
        record = {
            "taskArn": self.arn,
            "clusterArn": self.cluster_arn,
            "taskDefinitionArn": self.definition_arn,
            "availabilityZone": self.zone,
            "attachments": [self._attachment()],
            "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
            "containers": [self._container(c) for c in self.containers],
            "overrides": copy.deepcopy(self.overrides) or {"containerOverrides": []},
            "lastStatus": self.status.value,
            "desiredStatus": self.desired.value,
            "launchType": self.launch_type,
            "capacityProviderName": self.capacity_provider or None,
            "platformVersion": "1.4.0" if self.launch_type == "FARGATE" else None,
            "platformFamily": "Linux" if self.launch_type == "FARGATE" else None,
            "cpu": str(self.definition.get("cpu") or "256"),
            "memory": str(self.definition.get("memory") or "512"),
            "connectivity": "CONNECTED" if self.connected_at else None,
            "connectivityAt": self.connected_at,
            "createdAt": self.created_at,
            "pullStartedAt": self.pull_started_at,
            "pullStoppedAt": self.pull_stopped_at,
            "startedAt": self.started_at,
            "stoppingAt": self.stopping_at,
            "executionStoppedAt": self.execution_stopped_at,
            "stoppedAt": self.stopped_at,
            "stopCode": self.stop_code or None,
            "stoppedReason": self.stopped_reason or None,
            "healthStatus": self.health.value,
            "group": self.group,
            "startedBy": self.started_by or None,
            "enableExecuteCommand": self.enable_execute,
            "ephemeralStorage": self.definition.get("ephemeralStorage") or {"sizeInGiB": 20},
            "inferenceAccelerators": [],
            "tags": [{"key": key, "value": value} for key, value in self.tags.items()],
            "version": self.version,
        }
        return {key: value for key, value in record.items() if value is not None}

    def _attachment(self) -> dict[str, Any]:
        details = {
            "subnetId": self.subnet.id,
            "networkInterfaceId": self.eni,
            "macAddress": self.mac,
            "privateDnsName": f"ip-{self.ip.replace('.', '-')}.ec2.internal",
            "privateIPv4Address": self.ip,
        }
        attached = {Status.PROVISIONING: "ATTACHING", Status.STOPPED: "DELETED"}
        return {
            "id": self.attachment,
            "type": "ElasticNetworkInterface",
            "status": attached.get(self.status, "ATTACHED"),
            "details": [{"name": name, "value": value} for name, value in details.items() if value],
        }

    def _container(self, container: Container) -> dict[str, Any]:
        record = {
            "containerArn": f"{self.cluster_arn.replace(':cluster/', ':container/')}/{self.id}/{container.id}",
            "taskArn": self.arn,
            "name": container.name,
            "image": container.definition["image"],
            "runtimeId": f"{self.id}-{container.id}" if container.process else None,
            "lastStatus": container.status,
            "exitCode": container.exit_code,
            "reason": container.reason or None,
            "networkBindings": [],
            "networkInterfaces": [{"attachmentId": self.attachment, "privateIpv4Address": self.ip}],
            "healthStatus": container.health.value,
            "cpu": str(container.definition.get("cpu") or "0"),
        }
        return {key: value for key, value in record.items() if value is not None}

    def metadata(self) -> dict[str, Any]:
        """Return the task document of the ECS metadata endpoint version 4 (`/task`)."""
        document = {
            "Cluster": self.cluster_arn,
            "TaskARN": self.arn,
            "Family": self.family,
            "Revision": str(self.definition["revision"]),
            "ServiceName": self.service or None,
            "DesiredStatus": self.desired.value,
            "KnownStatus": self.status.value,
            "DeploymentLimits": _limits(self.definition),
            "PullStartedAt": _iso(self.pull_started_at),
            "PullStoppedAt": _iso(self.pull_stopped_at),
            "AvailabilityZone": self.zone,
            "LaunchType": self.launch_type,
            "VPCID": self.subnet.vpc or None,
            "TaskTags": dict(self.tags),
            "Containers": [self._container_metadata(c) for c in self.containers],
        }
        return {key: value for key, value in document.items() if value is not None}

    def _container_metadata(self, container: Container) -> dict[str, Any]:
        return {
            "DockerId": f"{self.id}-{container.id}",
            "Name": container.name,
            "DockerName": container.name,
            "Image": container.definition["image"],
            "Labels": {
                "com.amazonaws.ecs.cluster": self.cluster_arn,
                "com.amazonaws.ecs.container-name": container.name,
                "com.amazonaws.ecs.task-arn": self.arn,
                "com.amazonaws.ecs.task-definition-family": self.family,
                "com.amazonaws.ecs.task-definition-version": str(self.definition["revision"]),
                **(container.definition.get("dockerLabels") or {}),
            },
            "DesiredStatus": self.desired.value,
            "KnownStatus": container.status,
            "CreatedAt": _iso(self.created_at),
            "StartedAt": _iso(self.started_at),
            "Type": "NORMAL",
            "Ports": [{"ContainerPort": inner, "HostPort": outer} for inner, outer in container.ports.items()],
            "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": [self.ip], "MACAddress": self.mac}],
        }


def count_tasks(tasks: Sequence[Task]) -> tuple[int, int]:
    """Return (running, pending) as AWS counts them: a stopping task is neither."""
    running = sum(t.status is Status.RUNNING for t in tasks)
    pending = sum(t.status in (Status.PROVISIONING, Status.PENDING, Status.ACTIVATING) and t.live for t in tasks)
    return running, pending


def _limits(definition: Mapping[str, Any]) -> dict[str, float]:
    cpu, memory = str(definition.get("cpu") or ""), str(definition.get("memory") or "")
    return {
        **({"CPU": int(cpu) / 1024} if cpu.isdigit() else {}),
        **({"Memory": int(memory)} if memory.isdigit() else {}),
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
