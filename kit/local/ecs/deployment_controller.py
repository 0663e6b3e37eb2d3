"""Advance the deployments of services: health, starts, stops, completion, circuit breaker and throttling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kit.local.ecs import deployment_alarms
from kit.local.ecs.deployment_alarms import FindAlarm
from kit.local.ecs.ecs_services import Deployment, RolloutState, Service
from kit.local.ecs.rollout_plan import plan
from kit.local.ecs.service_history import ENDED, ServiceDeploymentStatus
from kit.local.ecs.tasks import Health, Status, StopCode, Target, Task
from kit.local.ecs.timing import Timing
from kit.local.ecs.wire import is_true

_CANNOT_START = (
    "is unable to consistently start tasks successfully. "
    "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
)
_NO_INSTANCE = (
    "was unable to place a task because no container instance met all of its requirements. "
    "Reason: No Container Instances were found in your cluster."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentController:
    """Advance services one step at a time. It decides by the present state only, so a step may be repeated."""

    timing: Timing
    tasks_of: Callable[[Service], list[Task]]
    launch: Callable[..., Task]
    target_health: Callable[[str, str, int], str]
    find_alarm: FindAlarm

    def advance(self, service: Service) -> None:
        """Update the health of tasks, start and stop tasks, and complete or fail deployments."""
        live = [t for t in self.tasks_of(service) if t.live]
        for task in live:
            self._update_health(service, task)
        _break_circuit(service)
        self._watch_alarms(service, live)
        step = plan(
            desired=service.desired,
            minimum_percent=service.limits.minimum_percent,
            maximum_percent=service.limits.maximum_percent,
            primary_id=service.primary.id,
            tasks=live,
            may_start=_may_start(service),
        )
        _stop(service, step.stop)
        self._start(service, step.start)
        _conclude(service, self.tasks_of(service), bake_s=self._bake_s(service))

    def _watch_alarms(self, service: Service, live: Sequence[Task]) -> None:
        """Fail the primary deployment if one of its alarms went into ALARM since its first task has run."""
        deployment, settings = service.primary, service.limits.alarms
        if settings is None or not settings.enabled or deployment.rollout is not RolloutState.IN_PROGRESS:
            return
        triggered = deployment_alarms.in_alarm(self._alarms(service))
        if deployment.watches_alarms is None:
            # As on AWS: a deployment that is to repair what an alarm shows must not fail because of this alarm.
            deployment.watches_alarms = not triggered
        status = "MONITORING" if deployment.watches_alarms else "DISABLED"
        if service.history[0].target.deployment_id == deployment.id:
            # While an earlier deployment is brought back, the history still tells of the one that failed.
            service.history[0].alarms = {"status": status, "alarmNames": list(settings.names)}
        has_run = any(t.running and t.deployment_id == deployment.id for t in live) or deployment.failed_tasks
        if not (triggered and deployment.watches_alarms and has_run):
            return
        service.fail_primary("alarm", "alarm detected.")
        service.history[0].alarms |= {"status": "TRIGGERED", "triggeredAlarmNames": triggered}
        _roll_back(service, "alarm", wanted=settings.rollback)

    def _alarms(self, service: Service) -> list[tuple[str, deployment_alarms.AlarmState | None]]:
        names = service.limits.alarms.names if service.limits.alarms is not None else ()
        return [(name, self.find_alarm(service.account, service.region, name)) for name in names]

    def _bake_s(self, service: Service) -> float:
        """Return how long the primary deployment is watched after its tasks have replaced all others."""
        return deployment_alarms.bake_s(self._alarms(service)) if service.primary.watches_alarms else 0.0

    def count_failure(self, service: Service, task: Task) -> None:
        """Count a task that ended. Failed starts throttle later starts; failed tasks trip the circuit breaker."""
        deployment = next((d for d in service.deployments if d.id == task.deployment_id), None)
        failed = task.failed_start or task.unhealthy_reason
        if failed and deployment is not None and deployment.rollout is RolloutState.IN_PROGRESS:
            deployment.failed_tasks += 1
            if service.history[0].target.deployment_id == deployment.id:
                service.history[0].failure_count = deployment.failed_tasks
        if not task.failed_start:
            return
        service.failed_starts += 1
        wait_s = self.timing.backoff_after(service.failed_starts)
        if wait_s > 0:
            service.not_before = asyncio.get_running_loop().time() + wait_s
            if service.failed_starts == self.timing.failed_starts_free + 1:
                service.event(_CANNOT_START)

    def _update_health(self, service: Service, task: Task) -> None:
        """Set `task.healthy`, and `task.unhealthy_reason` if the task must be replaced."""
        if not task.running or task.unhealthy_reason:
            task.healthy = False
            return
        up_s = asyncio.get_running_loop().time() - task.started_mono
        states = {target: self._state(task, target) for target in task.targets}
        up = all(state == "healthy" for state in states.values()) if states else up_s >= self.timing.stable_s
        checked = any(c.essential and c.definition.get("healthCheck") for c in task.containers)
        task.healthy = up and (not checked or task.health is Health.HEALTHY)
        if up_s >= self.timing.failed_start_s:
            service.stop_throttling()
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

    def _state(self, task: Task, target: Target) -> str:
        return self.target_health(target.group_arn, task.ip, target.port)

    def _start(self, service: Service, count: int) -> None:
        tasks = [self._launch(service) for _ in range(count)]
        if tasks:
            service.steady = False
            service.event(f"has started {len(tasks)} tasks: {_task_names(tasks)}.")

    def _launch(self, service: Service) -> Task:
        deployment = service.primary
        return self.launch(
            definition=deployment.definition,
            account=service.account,
            region=service.region,
            cluster=service.cluster,
            subnets=service.subnets,
            used=[t.subnet.id for t in self.tasks_of(service) if t.live],
            tags=_tags(service, deployment),
            targets=service.targets,
            service=service.name,
            deployment_id=deployment.id,
            group=f"service:{service.name}",
            started_by=deployment.id,
            launch_type=service.launch_type,
            enable_execute=is_true(service.request.get("enableExecuteCommand")),
        )


def _may_start(service: Service) -> bool:
    if service.launch_type != "FARGATE" and service.desired:
        if not any(_NO_INSTANCE in event["message"] for event in service.events):
            service.event(_NO_INSTANCE)
        return False
    return (
        service.status == "ACTIVE"
        and service.primary.rollout is not RolloutState.FAILED
        and asyncio.get_running_loop().time() >= service.not_before
    )


def _tags(service: Service, deployment: Deployment) -> dict[str, str]:
    tags: dict[str, Any] = {}
    if service.propagate == "SERVICE":
        tags = dict(service.tags)
    elif service.propagate == "TASK_DEFINITION":
        tags = dict(deployment.definition.get("_tags") or {})
    if service.managed_tags:
        tags |= {"aws:ecs:clusterName": service.cluster, "aws:ecs:serviceName": service.name}
    return tags


def _stop(service: Service, tasks: Sequence[Task]) -> None:
    for task in tasks:
        reason = task.unhealthy_reason or f"Scaling activity initiated by (deployment {service.primary.id})"
        task.request_stop(StopCode.SCHEDULER, reason)
    if tasks:
        service.steady = False
        if service.targets:
            service.event(f"has begun draining connections on {len(tasks)} tasks.")
        service.event(f"has stopped {len(tasks)} running tasks: {_task_names(tasks)}.")


def _task_names(tasks: Sequence[Task]) -> str:
    return " ".join(f"(task {t.id})" for t in tasks)


def _break_circuit(service: Service) -> None:
    deployment = service.primary
    if not service.limits.breaker or deployment.rollout is not RolloutState.IN_PROGRESS:
        return
    if deployment.failed_tasks < service.failure_threshold:
        return
    service.fail_primary("circuit breaker", "tasks failed to start.")
    service.history[0].breaker = "TRIGGERED"
    _roll_back(service, "circuit breaker", wanted=service.limits.rollback)


def _roll_back(service: Service, cause: str, *, wanted: bool) -> None:
    """Return to the last completed deployment, if there is one."""
    previous = service.last_completed
    if wanted and previous is not None and previous is not service.primary:
        service.roll_back(previous, cause)


def _conclude(service: Service, tasks: Sequence[Task], *, bake_s: float) -> None:
    """Complete the primary deployment once all its tasks are healthy and no others are left, for `bake_s`."""
    live = [t for t in tasks if t.live]
    if service.status == "DRAINING":
        if all(t.status is Status.STOPPED for t in tasks):
            service.status = "INACTIVE"
            service.deployments = service.deployments[:1]
            service.steady = True
        return
    primary = service.primary
    current = [t for t in live if t.deployment_id == primary.id]
    leaving = [t for t in tasks if not t.live and t.status in (Status.RUNNING, Status.DEACTIVATING)]
    if not (len(live) == len(current) == service.desired and all(t.healthy for t in current)):
        service.steady, primary.replaced_at = False, None
        return
    now = asyncio.get_running_loop().time()
    primary.replaced_at = now if primary.replaced_at is None else primary.replaced_at
    if now - primary.replaced_at < bake_s and primary.rollout is RolloutState.IN_PROGRESS:
        return
    if primary.rollout is RolloutState.IN_PROGRESS:
        primary.conclude(RolloutState.COMPLETED, f"ECS deployment {primary.id} completed.")
        service.event(f"(deployment {primary.id}) deployment completed.")
    if primary.rollout is RolloutState.COMPLETED:
        _complete_history(service)
        service.last_completed = primary
        service.deployments = [primary]
        if not service.steady and not leaving:
            service.steady = True
            service.event("has reached a steady state.")


def _complete_history(service: Service) -> None:
    current = service.history[0]
    if current.status in ENDED:
        return
    rolled_back = current.status is ServiceDeploymentStatus.ROLLBACK_IN_PROGRESS
    current.breaker = "MONITORING_COMPLETE" if current.breaker == "MONITORING" else current.breaker
    if current.alarms.get("status") == "MONITORING":
        current.alarms["status"] = "MONITORING_COMPLETE"
    current.move(ServiceDeploymentStatus.ROLLBACK_SUCCESSFUL if rolled_back else ServiceDeploymentStatus.SUCCESSFUL)
