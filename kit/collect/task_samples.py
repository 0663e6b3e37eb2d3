"""Sample running tasks and the health of the load balancer's targets.

ECS and ELB keep no history of either, so what is not sampled is lost.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from botocore.exceptions import BotoCoreError, ClientError

from kit.aws.client_errors import ClientSource, cloud_errors
from kit.model import Deployment

SAMPLE_EVERY_S = 1.0
# A sample that takes longer says nothing about the time it is stamped with.
SAMPLE_S_MAX = 3.0
# Four hours of samples; after that the oldest are dropped.
SAMPLES_MAX = 4 * 3600
STOP_S_MAX = 10.0
DESCRIBE_TASKS_MAX = 100
SERVICE_OUTPUTS = ("ApiServiceName", "MatcherServiceName", "RelayServiceName")
SUBNET_OUTPUTS = ("AppSubnetA", "AppSubnetB")
# `unhealthy`: those of the running tasks whose own health check fails.
TASK_COLUMNS = ("t", "zone", "service", "running", "unhealthy")
TARGET_COLUMNS = ("t", "subnet", "zone", "state", "count")


def task_table(session: ClientSource, deployment: Deployment) -> pd.DataFrame:
    """Count the tasks that run now: columns service, zone, running."""
    with cloud_errors(f"tasks of {deployment.stack_name}"):
        running = _running(session.client("ecs"), deployment.outputs["ClusterName"])
        counts = Counter((service, zone) for service, zone, _ in running)
    rows = [(service, zone, count) for (service, zone), count in sorted(counts.items())]
    return pd.DataFrame(rows, columns=pd.Index(["service", "zone", "running"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A stretch without a sample, and why."""

    start: float
    end: float
    reason: str


@dataclass(slots=True, kw_only=True)
class TaskWatch:
    """Sample running tasks and target health once a second in a thread, until `stop`.

    A call that fails or hangs is recorded as a gap, and the watch goes on.
    """

    session: ClientSource
    deployment: Deployment
    zones: Mapping[str, tuple[str, Any]] = field(default_factory=dict)  # subnet id → (zone, network)
    _task_rows: deque[tuple[float, str, str, int, int]] = field(default_factory=lambda: deque(maxlen=8 * SAMPLES_MAX))
    _target_rows: deque[tuple[float, str, str, str, int]] = field(default_factory=lambda: deque(maxlen=8 * SAMPLES_MAX))
    _gaps: deque[Gap] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @classmethod
    def start(cls, session: ClientSource, deployment: Deployment) -> TaskWatch:
        """Take the first sample, so that a wrong set-up fails at once, then start the thread."""
        with cloud_errors(f"subnets of {deployment.stack_name}"):
            watch = cls(session=session, deployment=deployment, zones=_zones(session, deployment))
            watch._sample()
        watch._thread = threading.Thread(target=watch._run, name="task-watch", daemon=True)
        watch._thread.start()
        return watch

    def stop(self) -> None:
        """End the thread; safe to call more than once."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_S_MAX)

    def tasks(self) -> pd.DataFrame:
        """Return the running tasks with TASK_COLUMNS. A zone or service without tasks has a row with 0."""
        return pd.DataFrame(list(self._task_rows), columns=pd.Index(TASK_COLUMNS))

    def targets(self) -> pd.DataFrame:
        """Return the load balancer's targets with TARGET_COLUMNS. Each subnet has a row for the state `healthy`."""
        return pd.DataFrame(list(self._target_rows), columns=pd.Index(TARGET_COLUMNS))

    def gaps(self) -> tuple[Gap, ...]:
        """Return when no sample could be taken."""
        return tuple(self._gaps)

    def _run(self) -> None:
        due = time.monotonic() + SAMPLE_EVERY_S
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + SAMPLE_EVERY_S, time.monotonic())
            began = time.time()
            try:
                self._sample()
            except (ClientError, BotoCoreError) as error:
                self._gaps.append(Gap(start=began, end=time.time(), reason=str(error)))

    def _sample(self) -> None:
        began = time.time()
        outputs = self.deployment.outputs
        health = self._target_counts(outputs["TargetGroupArn"])
        running = list(_running(self.session.client("ecs"), outputs["ClusterName"]))
        counts = Counter((service, zone) for service, zone, _ in running)
        failing = Counter((service, zone) for service, zone, is_unhealthy in running if is_unhealthy)
        took_s = time.time() - began
        if took_s > SAMPLE_S_MAX:
            self._gaps.append(Gap(start=began, end=began + took_s, reason=f"one sample took {took_s:.1f} s"))
            return
        services = {outputs[key] for key in SERVICE_OUTPUTS} | {service for service, _ in counts}
        for zone in sorted({zone for zone, _ in self.zones.values()} | {zone for _, zone in counts}):
            self._task_rows.extend(
                (began, zone, name, counts[name, zone], failing[name, zone]) for name in sorted(services)
            )
        for subnet, (zone, _) in self.zones.items():
            states = {state: count for (where, state), count in health.items() if where == subnet}
            rows = {"healthy": 0, **states}.items()
            self._target_rows.extend((began, subnet, zone, state, count) for state, count in rows)

    def _target_counts(self, arn: str) -> Counter[tuple[str, str]]:
        answer = self.session.client("elbv2").describe_target_health(TargetGroupArn=arn)
        found = answer["TargetHealthDescriptions"]
        return Counter((self._subnet_of(target["Target"]["Id"]), target["TargetHealth"]["State"]) for target in found)

    def _subnet_of(self, address: str) -> str:
        ip = ipaddress.ip_address(address)
        return next((subnet for subnet, (_, network) in self.zones.items() if ip in network), "")


def _running(ecs: Any, cluster: str) -> Iterator[tuple[str, str, bool]]:
    """Return (service, zone, whether its own health check fails) of every running task."""
    arns = [arn for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster) for arn in page["taskArns"]]
    for first in range(0, len(arns), DESCRIBE_TASKS_MAX):
        answer = ecs.describe_tasks(cluster=cluster, tasks=arns[first : first + DESCRIBE_TASKS_MAX])
        for task in answer["tasks"]:
            if task["lastStatus"] == "RUNNING":
                service, zone = task.get("group", "").removeprefix("service:"), task.get("availabilityZone", "")
                yield service, zone, task.get("healthStatus") == "UNHEALTHY"


def _zones(session: ClientSource, deployment: Deployment) -> dict[str, tuple[str, Any]]:
    ids = [deployment.outputs[key] for key in SUBNET_OUTPUTS]
    subnets = session.client("ec2").describe_subnets(SubnetIds=ids)["Subnets"]
    return {
        subnet["SubnetId"]: (subnet["AvailabilityZone"], ipaddress.ip_network(subnet["CidrBlock"]))
        for subnet in subnets
    }
