"""How a service's deployments proceed: health, starts, stops, completion, circuit breaker, throttling.

Owns the decisions of one step and their words in the event log. Must not know MiniStack or processes; the
arithmetic is in deployments.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kit.local.ecs.deployments import plan
from kit.local.ecs.ecs_services import Deployment, Rollout, Service
from kit.local.ecs.tasks import Health, Status, StopCode, Target, Task
from kit.local.ecs.timing import Timing

if TYPE_CHECKING:
    from kit.local.ecs.service import Scheduler

_TROUBLE = (
    "is unable to consistently start tasks successfully. "
    "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
)


def advance(scheduler: Scheduler, service: Service) -> None:
    """One step: look at health, conclude deployments, start and stop tasks."""
    tasks = scheduler.tasks_of(service)
    live = [t for t in tasks if t.live]
    for task in live:
        _look(scheduler, service, task)
    _break_circuit(scheduler, service)
    decision = plan(
        desired=service.desired,
        minimum_percent=service.limits.minimum_percent,
        maximum_percent=service.limits.maximum_percent,
        primary_id=service.primary.id,
        tasks=live,
        may_start=_may_start(service),
    )
    _stop(scheduler, service, decision.stop)
    _start(scheduler, service, decision.start)
    _conclude(service, scheduler.tasks_of(service))


def count_failure(service: Service, task: Task, timing: Timing) -> None:
    """Note that one of the service's tasks ended: failed starts throttle and, like ill health, are counted."""
    deployment = next((d for d in service.deployments if d.id == task.deployment_id), None)
    failed = task.failed_start or (task.unhealthy_reason and deployment is not None)
    if failed and deployment is not None and deployment.rollout is Rollout.IN_PROGRESS:
        deployment.failed_tasks += 1
    if not task.failed_start:
        return
    service.failed_starts += 1
    wait_s = timing.backoff_after(service.failed_starts)
    if wait_s > 0:
        service.not_before = asyncio.get_running_loop().time() + wait_s
        if service.failed_starts == timing.failed_starts_free + 1:
            service.event(_TROUBLE)


# -- health


def _look(scheduler: Scheduler, service: Service, task: Task) -> None:
    """Keep `task.healthy`; find out that a task must be replaced."""
    if not task.running or task.unhealthy_reason:
        task.healthy = False
        return
    up_s = asyncio.get_running_loop().time() - task.started_mono
    states = {target: _target_health(scheduler, task, target) for target in task.targets}
    up = all(state == "healthy" for state in states.values()) if states else up_s >= scheduler.timing.stable_s
    checked = any(c.essential and c.definition.get("healthCheck") for c in task.containers)
    task.healthy = up and (not checked or task.health is Health.HEALTHY)
    if up_s >= scheduler.timing.failed_start_s:
        service.failed_starts, service.not_before = 0, 0.0
    if up_s < service.grace_s:
        return
    failing = next((target for target, state in states.items() if state == "unhealthy"), None)
    if failing is not None:
        task.unhealthy_reason = f"Task failed ELB health checks in (target-group {failing.group_arn})"
        service.event(
            f"(task {task.id}) (port {failing.port}) is unhealthy in (target-group {failing.group_arn}) "
            "due to (reason Health checks failed)."
        )
    elif task.health is Health.UNHEALTHY:
        task.unhealthy_reason = "Task failed container health checks"
        service.event(f"(task {task.id}) failed container health checks.")
    task.healthy = task.healthy and not task.unhealthy_reason


def _target_health(scheduler: Scheduler, task: Task, target: Target) -> str:
    return scheduler.load_balancers.health(target.group_arn, task.ip, target.port)


# -- starts and stops


def _may_start(service: Service) -> bool:
    return (
        service.status == "ACTIVE"
        and service.primary.rollout is not Rollout.FAILED
        and asyncio.get_running_loop().time() >= service.not_before
    )


def _start(scheduler: Scheduler, service: Service, count: int) -> None:
    tasks = [_launch(scheduler, service) for _ in range(count)]
    if tasks:
        service.steady = False
        service.event(f"has started {len(tasks)} tasks: {_named(tasks)}.")


def _launch(scheduler: Scheduler, service: Service) -> Task:
    deployment = service.primary
    return scheduler.launch(
        definition=deployment.definition,
        account=service.account,
        region=service.region,
        cluster=service.cluster,
        subnets=service.subnets,
        used=[t.subnet.id for t in scheduler.tasks_of(service) if t.live],
        tags=_tags(service, deployment),
        targets=service.targets,
        security_groups=tuple(service.request.get("securityGroups") or ()),
        service=service.name,
        deployment_id=deployment.id,
        group=f"service:{service.name}",
        started_by=deployment.id,
        launch_type=service.launch_type,
        enable_execute=str(service.request.get("enableExecuteCommand")).lower() == "true",
    )


def _tags(service: Service, deployment: Deployment) -> dict[str, str]:
    tags = {}
    if service.propagate == "SERVICE":
        tags = dict(service.tags)
    elif service.propagate == "TASK_DEFINITION":
        tags = dict(deployment.definition.get("_tags") or {})
    if service.managed_tags:
        tags |= {"aws:ecs:clusterName": service.cluster, "aws:ecs:serviceName": service.name}
    return tags


def _stop(scheduler: Scheduler, service: Service, tasks: Sequence[Task]) -> None:
    for task in tasks:
        reason = task.unhealthy_reason or f"Scaling activity initiated by (deployment {service.primary.id})"
        task.request_stop(StopCode.SCHEDULER, reason)
    if tasks:
        service.steady = False
        if service.targets:
            service.event(f"has begun draining connections on {len(tasks)} tasks.")
        service.event(f"has stopped {len(tasks)} running tasks: {_named(tasks)}.")


def _named(tasks: Sequence[Task]) -> str:
    return " ".join(f"(task {t.id})" for t in tasks)


# -- deployments


def _break_circuit(scheduler: Scheduler, service: Service) -> None:
    deployment = service.primary
    if not service.limits.breaker or deployment.rollout is not Rollout.IN_PROGRESS:
        return
    if deployment.failed_tasks < service.breaker_at:
        return
    why = "tasks failed to start."
    deployment.conclude(Rollout.FAILED, f"ECS deployment circuit breaker: {why}")
    service.failed_ids.add(deployment.id)
    service.event(f"(deployment {deployment.id}) deployment failed: {why}")
    back = service.last_completed
    if service.limits.rollback and back is not None and back is not deployment:
        scheduler.roll_back(service, back)
        service.event(f"rolling back to (deployment {back.id}).")


def _conclude(service: Service, tasks: Sequence[Task]) -> None:
    """Complete the primary deployment when it is all there is; say once that the service is steady."""
    live = [t for t in tasks if t.live]
    if service.status == "DRAINING":
        if all(t.status is Status.STOPPED for t in tasks):
            service.status = "INACTIVE"
            service.deployments = service.deployments[:1]
            service.steady = True
        return
    mine = [t for t in live if t.deployment_id == service.primary.id]
    leaving = [t for t in tasks if not t.live and t.status in (Status.RUNNING, Status.DEACTIVATING)]
    whole = len(live) == len(mine) == service.desired and all(t.healthy for t in mine)
    if not whole:
        service.steady = False
        return
    primary = service.primary
    if primary.rollout is Rollout.IN_PROGRESS:
        primary.conclude(Rollout.COMPLETED, f"ECS deployment {primary.id} completed.")
        service.event(f"(deployment {primary.id}) deployment completed.")
    if primary.rollout is Rollout.COMPLETED:
        service.last_completed = primary
        service.deployments = [primary]
        if not service.steady and not leaving:
            service.steady = True
            service.event("has reached a steady state.")
