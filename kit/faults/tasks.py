"""Read from ECS which tasks stopped, when and why: targets of the experiment and others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.aws.client_errors import ClientSource, cloud_errors
from kit.model import Deployment, FaultWindow, TaskStop

DESCRIBE_TASKS_MAX = 100
# ECS lists stopped tasks for about an hour; more than this many in one run mean a crash loop anyway.
STOPPED_MAX = 1_000
# Replacements that were placed in the lost zone may still fail for this long after the zone is back.
AFTERMATH_S = 30.0
SCHEDULER_CODES = frozenset({"ServiceSchedulerInitiated"})
# How ECS says that a task's own health check failed. The check asks the task itself, so that no other zone, service or
# network can make it fail: only an action on the task's processes, CPU, disk or port does.
UNHEALTHY = "container health checks"
HANGING = ("aws:ecs:stop-task", "aws:ecs:task-")
NEVER_HANGING = ("aws:ecs:task-network-latency", "aws:ecs:task-network-packet-loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLife:
    """When a task ran; `stop` is None while it runs, `started_at` is None if it never did."""

    arn: str
    started_at: float | None
    stop: TaskStop | None


def describe(session: ClientSource, deployment: Deployment, arns: Sequence[str]) -> dict[str, TaskStop | None]:
    """Return by ARN how each task stopped: None while it runs; absent when ECS no longer lists it."""
    ecs, cluster = session.client("ecs"), deployment.outputs["ClusterName"]
    found: dict[str, TaskStop | None] = {}
    with cloud_errors(f"tasks of {deployment.stack_name}"):
        for first in range(0, len(arns), DESCRIBE_TASKS_MAX):
            answer = ecs.describe_tasks(cluster=cluster, tasks=list(arns[first : first + DESCRIBE_TASKS_MAX]))
            found |= {task["taskArn"]: _stop(task) for task in answer["tasks"]}
    return found


def lives(session: ClientSource, deployment: Deployment, service: str) -> list[TaskLife]:
    """Return the running tasks of a service, and the stopped ones that ECS still lists."""
    ecs, cluster = session.client("ecs"), deployment.outputs["ClusterName"]
    found: list[TaskLife] = []
    with cloud_errors(f"tasks of service {service}"):
        pager = ecs.get_paginator("list_tasks")
        arns = [
            arn
            for status in ("RUNNING", "STOPPED")
            for page in pager.paginate(cluster=cluster, serviceName=service, desiredStatus=status)
            for arn in page["taskArns"]
        ]
        for first in range(0, len(arns), DESCRIBE_TASKS_MAX):
            answer = ecs.describe_tasks(cluster=cluster, tasks=arns[first : first + DESCRIBE_TASKS_MAX])
            found += [_life(task) for task in answer["tasks"]]
    return found


def unexplained_stops(
    session: ClientSource, deployment: Deployment, fault: FaultWindow | None = None, *, since: float = 0.0
) -> list[TaskStop]:
    """Return the tasks that stopped since `since` and that neither the experiment nor the scheduler stopped.

    Until AFTERMATH_S after the fault, tasks in a zone that it hit may fail in any way: they count as explained. A task
    that fails its own health check is explained only by an action that can make its process hang.
    """
    with cloud_errors(f"stopped tasks of {deployment.stack_name}"):
        pages = (
            session.client("ecs")
            .get_paginator("list_tasks")
            .paginate(cluster=deployment.outputs["ClusterName"], desiredStatus="STOPPED")
        )
        arns = [arn for page in pages for arn in page["taskArns"]][:STOPPED_MAX]
    stops = [stop for stop in describe(session, deployment, arns).values() if stop is not None]
    targets = fault.targets if fault else ()
    chosen = {target["arn"] for target in targets}
    zones = {target["zone"] for target in targets if target.get("zone")}
    return [
        stop
        for stop in stops
        if (stop.stopped_at or since) >= since
        and stop.arn not in chosen
        and not (stop.code in SCHEDULER_CODES and UNHEALTHY not in stop.reason)
        and not _is_casualty(stop, fault, zones)
    ]


def _is_casualty(stop: TaskStop, fault: FaultWindow | None, zones: Collection[str]) -> bool:
    if fault is None or fault.injected_at is None or stop.stopped_at is None or stop.zone not in zones:
        return False
    if UNHEALTHY in stop.reason and not may_hang_tasks(fault):
        return False
    until = max(fault.ended_at or 0.0, fault.healed_at or 0.0, fault.injected_at) + AFTERMATH_S
    return fault.injected_at <= stop.stopped_at <= until


def may_hang_tasks(fault: FaultWindow | None) -> bool:
    """Return whether an action of the experiment can make a task's process hang."""
    actions = {str(action["action_id"]) for action in fault.actions} if fault else set()
    return any(action.startswith(HANGING) for action in actions - set(NEVER_HANGING))


def _stop(task: Mapping[str, Any]) -> TaskStop | None:
    if task.get("desiredStatus") != "STOPPED" and task["lastStatus"] != "STOPPED":
        return None
    stopped = task.get("stoppedAt") or task.get("executionStoppedAt")
    stopping = task.get("stoppingAt") or stopped
    codes = [container["exitCode"] for container in task.get("containers", []) if "exitCode" in container]
    return TaskStop(
        arn=task["taskArn"],
        service=task.get("group", "").removeprefix("service:"),
        zone=task.get("availabilityZone", ""),
        code=task.get("stopCode", ""),
        reason=task.get("stoppedReason", ""),
        exit_code=codes[0] if codes else None,
        stopped_at=stopped.timestamp() if stopped else None,
        stopping_at=stopping.timestamp() if stopping else None,
    )


def _life(task: Mapping[str, Any]) -> TaskLife:
    started = task.get("startedAt")
    return TaskLife(arn=task["taskArn"], started_at=started.timestamp() if started else None, stop=_stop(task))
