"""Keep every ECS service at its desired count of tasks.

A loop reconciles all services at every tick, and soon after any change.
"""

import asyncio
import base64
import contextlib
import hashlib
import logging
import random
import secrets
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from kit.local.ecs import ministack
from kit.local.ecs.deployment_alarms import FindAlarm
from kit.local.ecs.deployment_controller import DeploymentController
from kit.local.ecs.ecs_services import Service
from kit.local.ecs.lifecycle import Lifecycle
from kit.local.ecs.placement import Addresses, Subnet, choose_subnet
from kit.local.ecs.tasks import Status, StopCode, Target, Task
from kit.local.ecs.timing import (
    INACTIVE_SERVICES_MAX,
    SHUTDOWN_S_MAX,
    STOPPED_TASKS_MAX,
    STOPPED_VISIBLE_S,
    Timing,
)
from kit.local.ecs.wire import containers

log = logging.getLogger(__name__)


class Scheduler:
    """The services and tasks of one local cloud. Use it from its event loop only."""

    def __init__(
        self,
        *,
        timing: Timing,
        rng: random.Random,
        target_health: Callable[[str, str, int], str],
        find_alarm: FindAlarm = lambda *_: None,
    ) -> None:
        self.timing = timing
        self.services: dict[str, Service] = {}  # by ARN
        self._tasks: dict[str, Task] = {}  # by ARN, in order of creation
        self._by_key: dict[str, Task] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._addresses = Addresses(rng=rng)
        self._controller = DeploymentController(
            timing=timing,
            tasks_of=self.tasks_of,
            launch=self.launch,
            target_health=target_health,
            find_alarm=find_alarm,
        )
        self._lifecycle: Lifecycle | None = None
        self._wake = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None
        self._closing = False

    def start(self, lifecycle: Lifecycle) -> None:
        """Begin to reconcile. `lifecycle` runs the tasks."""
        self._lifecycle = lifecycle
        self._ticker = asyncio.create_task(self._tick(), name="ecs-scheduler")

    async def stop(self) -> None:
        """End every task within SHUTDOWN_S_MAX; kill what is left."""
        self._closing = True
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        if self._lifecycle is not None:
            self._lifecycle.close()
        for task in self._tasks.values():
            task.request_stop(StopCode.USER, "The local cloud stops")
        try:
            if self._running:
                await asyncio.wait(list(self._running.values()), timeout=SHUTDOWN_S_MAX)
        finally:
            for task in self._tasks.values():
                task.kill()
            for running in self._running.values():
                running.cancel()

    def tasks(self) -> list[Task]:
        """Return every task, oldest first, including those stopped in the last hour."""
        return list(self._tasks.values())

    def task(self, reference: str) -> Task | None:
        """Return the task with this ARN or id, or None."""
        return self._tasks.get(reference) or next((t for t in self._tasks.values() if t.id == reference), None)

    def task_of_key(self, access_key: str) -> Task | None:
        """Return the task with this access key, or None."""
        return self._by_key.get(access_key)

    def tasks_of(self, service: Service) -> list[Task]:
        """Return the service's tasks, including stopped ones."""
        return [t for t in self._tasks.values() if t.service == service.name and t.cluster_arn == service.cluster_arn]

    def stop_task(self, reference: str, reason: str) -> Task | None:
        """Ask a task to stop, as StopTask does. Returns None if there is no such task."""
        task = self.task(reference)
        if task is not None and task.request_stop(StopCode.USER, reason):
            log.info("ecs.task.stop", extra={"task": task.id, "reason": reason})
            self.task_changed(task)
        return task

    def add_service(self, service: Service) -> None:
        """Begin to schedule a service. It replaces an inactive one with the same ARN."""
        self.services[service.arn] = service
        self.publish(service)

    def publish(self, service: Service) -> None:
        """Write the service to MiniStack's store and reconcile it soon."""
        ministack.put_service(service, service.describe(self.tasks_of(service)))
        self._wake.set()

    def update_tags(self, arn: str) -> None:
        """Take over the tags that were set on a service or a task."""
        service, task = self.services.get(arn), self._tasks.get(arn)
        if service is not None:
            service.tags = ministack.tags_of(arn)
            self.publish(service)
        if task is not None:
            task.tags = ministack.tags_of(arn)
            self.task_changed(task)

    def delete_service(self, service: Service) -> None:
        """Stop the service's tasks. It is INACTIVE when all have stopped."""
        service.drain()
        self.reconcile(service)

    def launch(
        self, *, definition: dict[str, Any], account: str, region: str, cluster: str, subnets: Iterable[Subnet],
        used: Iterable[str] = (), tags: dict[str, str] | None = None, overrides: dict[str, Any] | None = None,
        targets: tuple[Target, ...] = (), **fields: Any,
    ) -> Task:  # fmt: skip
        """Create one task and run it."""
        subnet = choose_subnet(list(subnets), used)
        id = uuid.uuid4().hex
        task = Task(
            id=id, account=account, region=region, cluster=cluster, definition=definition, subnet=subnet,
            ip=self._addresses.take(subnet), mac=_mac(id), access_key=_access_key(id),
            secret_key=secrets.token_urlsafe(30), containers=containers(definition, overrides),
            tags=dict(tags or {}), overrides=overrides or {}, targets=targets,
            eni=f"eni-{id[:17]}", attachment=str(uuid.UUID(id[::-1])), **fields,
        )  # fmt: skip
        self._tasks[task.arn] = task
        self._by_key[task.access_key] = task
        self.task_changed(task)
        assert self._lifecycle is not None, "started"
        running = asyncio.create_task(self._lifecycle.run(task), name=f"ecs-task-{id[:8]}")
        self._running[task.arn] = running
        running.add_done_callback(lambda _: self._ended(task))
        return task

    def task_changed(self, task: Task) -> None:
        """Write the task and its service to MiniStack's stores, and reconcile soon."""
        ministack.put_task(task, task.describe())
        service = self._service_of(task)
        if service is not None:
            ministack.put_service(service, service.describe(self.tasks_of(service)))
        self._wake.set()

    def reconcile(self, service: Service) -> None:
        """Advance one service by one step."""
        before = (service.deployments[:], service.status, len(service.events))
        self._controller.advance(service)
        if before != (service.deployments[:], service.status, len(service.events)):
            self.publish(service)

    def _ended(self, task: Task) -> None:
        self._running.pop(task.arn, None)
        self._by_key.pop(task.access_key, None)
        self._addresses.release(task.ip)
        service = self._service_of(task)
        if service is not None and not self._closing:
            self._controller.count_failure(service, task)
        self._wake.set()

    def _service_of(self, task: Task) -> Service | None:
        return self.services.get(f"arn:aws:ecs:{task.region}:{task.account}:service/{task.cluster}/{task.service}")

    async def _tick(self) -> None:
        while not self._closing:
            with contextlib.suppress(TimeoutError):
                # Not wait_for: in Python 3.11 it can swallow a cancellation that coincides with the event.
                async with asyncio.timeout(self.timing.tick_s):
                    await self._wake.wait()
            self._wake.clear()
            for service in list(self.services.values()):
                if service.status == "INACTIVE":
                    continue
                try:
                    self.reconcile(service)
                except Exception:
                    # Boundary: a defect in one service must not stop the scheduling of the others.
                    log.exception("ecs.service.defect", extra={"service": service.name})
            self._forget()
            # Changes come in bursts. One pass serves them all.
            await asyncio.sleep(self.timing.tick_s / 4)

    def _forget(self) -> None:
        """Drop stopped tasks and inactive services that are too old, or too many."""
        stopped = [t for t in self._tasks.values() if t.status is Status.STOPPED and t.arn not in self._running]
        surplus = len(stopped) - STOPPED_TASKS_MAX
        horizon = time.time() - STOPPED_VISIBLE_S
        for index, task in enumerate(stopped):
            if index < surplus or (task.stopped_at or 0.0) < horizon:
                del self._tasks[task.arn]
                ministack.drop_task(task)
        inactive = [s for s in self.services.values() if s.status == "INACTIVE"]
        for service in inactive[: max(0, len(inactive) - INACTIVE_SERVICES_MAX)]:
            del self.services[service.arn]
            ministack.drop_service(service)


def _access_key(task_id: str) -> str:
    """Return the task's own access key, in AWS's format. Its calls are identified by it."""
    return "ASIA" + base64.b32encode(hashlib.sha256(task_id.encode()).digest()).decode()[:16]


def _mac(task_id: str) -> str:
    # The second hexadecimal digit 2 marks a locally administered unicast address.
    return ":".join(["02", *(task_id[i : i + 2] for i in range(0, 10, 2))])
