"""The ECS scheduler: keeps every service at its desired count with real processes.

Owns tasks, services and the loop that reconciles them. Must not know the wire format (operations.py), MiniStack's
stores (ministack.py) or how one task lives (lifecycle.py).
"""

import asyncio
import base64
import contextlib
import hashlib
import logging
import random
import secrets
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from kit.local.ecs import cloudformation, definitions, ministack, operations, rollout
from kit.local.ecs.ecs_services import Deployment, Rollout, Service
from kit.local.ecs.lifecycle import Images, Lifecycle, LoadBalancers
from kit.local.ecs.placement import Addresses, Subnet, choose
from kit.local.ecs.tasks import Status, StopCode, Target, Task
from kit.local.ecs.timing import (
    INACTIVE_SERVICES_MAX,
    SHUTDOWN_S_MAX,
    STOPPED_TASKS_MAX,
    STOPPED_VISIBLE_S,
    Timing,
)
from kit.local.endpoints import Endpoint
from kit.local.links import Links

log = logging.getLogger(__name__)


class Scheduler:
    """Services and tasks of the local cloud.

    `stop_task`, `tasks`, `endpoint_of_key` and `metadata` are for the other rooms; everything runs on the
    server's one loop and must be called there.
    """

    def __init__(
        self, seed: int, *, links: Links, load_balancers: LoadBalancers, images: Images, endpoint_url: str,
        timing: Timing | None = None,
    ) -> None:  # fmt: skip
        self.timing = timing or Timing()
        self.load_balancers = load_balancers
        self.rng = random.Random(f"ecs/{seed}")
        self.services: dict[str, Service] = {}  # by ARN
        self._tasks: dict[str, Task] = {}  # by ARN, in order of creation
        self._by_key: dict[str, Task] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._addresses = Addresses(rng=self.rng)
        self._wake = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None
        self._lifecycle = Lifecycle(
            links=links, load_balancers=load_balancers, images=images, endpoint_url=endpoint_url,
            timing=self.timing, rng=self.rng, changed=self._changed,
        )  # fmt: skip
        self._closing = False

    # -- lifecycle of the component

    async def start(self) -> None:
        """Take ECS's services and tasks over from MiniStack and begin to reconcile."""
        ministack.install(self, operations.handlers(self), asyncio.get_running_loop())
        cloudformation.install(self, asyncio.get_running_loop())
        self._ticker = asyncio.create_task(self._tick(), name="ecs-scheduler")

    async def stop(self) -> None:
        """End every task (bounded), then give MiniStack its handlers back."""
        self._closing = True
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        self._lifecycle.close()
        for task in self._tasks.values():
            task.request_stop(StopCode.USER, "The local cloud stops")
        try:
            if self._lives:
                await asyncio.wait(list(self._lives.values()), timeout=SHUTDOWN_S_MAX)
        finally:
            self._kill_all()
            for life in self._lives.values():
                life.cancel()
            ministack.uninstall()
            cloudformation.uninstall()

    def _kill_all(self) -> None:
        for task in self._tasks.values():
            for container in task.containers:
                if container.process is not None:
                    container.process.kill()

    # -- what other rooms use

    def tasks(self) -> list[Task]:
        """Every task, stopped ones of the last hour included, oldest first."""
        return list(self._tasks.values())

    def task(self, reference: str) -> Task | None:
        """The task of this ARN or id."""
        return self._tasks.get(reference) or next((t for t in self._tasks.values() if t.id == reference), None)

    def endpoint_of_key(self, access_key: str) -> Endpoint | None:
        """Where the caller with this access key stands; None if it is no task."""
        task = self._by_key.get(access_key)
        return None if task is None else task.endpoint

    def metadata(self, task_id: str, path: str = "task") -> dict[str, Any] | None:
        """The metadata endpoint v4's document at `path` below the task: `task`, or "" for its first container."""
        task = self.task(task_id)
        if task is None or path not in ("", "task", "taskWithTags"):
            return None
        document = task.metadata()
        return document if path else document["Containers"][0]

    async def stop_task(self, task_arn: str, reason: str, stopped_by: str = "") -> Task | None:
        """Ask for a task's end as StopTask does, at once; None if there is no such task.

        Await `task.done` to wait until none of its processes is left.
        """
        return self.end_task(task_arn, reason, stopped_by)

    def end_task(self, task_arn: str, reason: str, stopped_by: str = "") -> Task | None:
        """`stop_task` for callers that cannot await."""
        task = self.task(task_arn)
        if task is not None and task.request_stop(StopCode.USER, reason):
            log.info("ecs.task.stop", extra={"task": task.id, "reason": reason, "by": stopped_by})
            self._changed(task)
        return task

    # -- services

    def tasks_of(self, service: Service) -> list[Task]:
        """The service's tasks, stopped ones included."""
        return [t for t in self._tasks.values() if t.service == service.name and t.cluster_arn == service.cluster_arn]

    def add_service(self, service: Service) -> None:
        """Begin to schedule a service; an inactive one of the same ARN is replaced."""
        self.services[service.arn] = service
        self.publish(service)

    def publish(self, service: Service) -> None:
        """Show the service's present state and look at it again soon."""
        ministack.put_service(service, service.describe(self.tasks_of(service)))
        self._wake.set()

    def retag(self, arn: str, tags_of: Callable[[str], dict[str, str]]) -> None:
        """Take over the tags that were set from outside on a service or a task."""
        service, task = self.services.get(arn), self._tasks.get(arn)
        if service is not None:
            service.tags = tags_of(arn)
            self.publish(service)
        if task is not None:
            task.tags = tags_of(arn)
            self._changed(task)

    def deploy(self, service: Service, definition: dict[str, Any]) -> Deployment:
        """Begin a new deployment, which becomes the primary one."""
        deployment = Deployment(definition=definition, desired=service.desired)
        service.deployments.insert(0, deployment)
        service.steady = False
        service.failed_starts, service.not_before = 0, 0.0
        return deployment

    def roll_back(self, service: Service, back: Deployment) -> None:
        """Make a completed deployment the primary one again; its tasks that are left stay where they are."""
        service.primary.desired = 0
        service.deployments = [back, *(d for d in service.deployments if d is not back)]
        back.desired = service.desired
        back.conclude(Rollout.IN_PROGRESS, f"ECS deployment circuit breaker: rolling back to deploymentId {back.id}.")
        service.steady = False
        service.failed_starts, service.not_before = 0, 0.0

    def retire(self, service: Service) -> None:
        """Delete a service: its tasks stop, then it is INACTIVE."""
        service.status = "DRAINING"
        service.desired = 0
        for deployment in service.deployments:
            deployment.desired = 0
        self.reconcile(service)

    # -- tasks

    def launch(
        self, *, definition: dict[str, Any], account: str, region: str, cluster: str, subnets: Iterable[Subnet],
        used: Iterable[str] = (), tags: dict[str, str] | None = None, overrides: dict[str, Any] | None = None,
        targets: tuple[Target, ...] = (), security_groups: tuple[str, ...] = (), **fields: Any,
    ) -> Task:  # fmt: skip
        """Create one task and start its life."""
        subnet = choose(list(subnets), used)
        id = uuid.uuid4().hex
        task = Task(
            id=id, account=account, region=region, cluster=cluster, definition=definition, subnet=subnet,
            ip=self._addresses.take(subnet), mac=_mac(id), access_key=_access_key(id),
            secret_key=secrets.token_urlsafe(30), containers=definitions.containers(definition, overrides),
            tags=dict(tags or {}), overrides=overrides or {}, targets=targets, security_groups=security_groups,
            eni=f"eni-{id[:17]}", attachment=str(uuid.UUID(id[::-1])), **fields,
        )  # fmt: skip
        self._tasks[task.arn] = task
        self._by_key[task.access_key] = task
        self._changed(task)
        life = asyncio.create_task(self._lifecycle.run(task), name=f"ecs-task-{id[:8]}")
        self._lives[task.arn] = life
        life.add_done_callback(lambda _: self._ended(task))
        return task

    def _ended(self, task: Task) -> None:
        self._lives.pop(task.arn, None)
        self._by_key.pop(task.access_key, None)
        self._addresses.give_back(task.ip)
        service = self._service_of(task)
        if service is not None and not self._closing:
            rollout.count_failure(service, task, self.timing)
        self._wake.set()

    def _service_of(self, task: Task) -> Service | None:
        return self.services.get(f"arn:aws:ecs:{task.region}:{task.account}:service/{task.cluster}/{task.service}")

    def _changed(self, task: Task) -> None:
        ministack.put_task(task, task.describe())
        service = self._service_of(task)
        if service is not None:
            ministack.put_service(service, service.describe(self.tasks_of(service)))
        self._wake.set()

    # -- the loop

    async def _tick(self) -> None:
        while not self._closing:
            with contextlib.suppress(TimeoutError):
                # Not wait_for: in Python 3.11 it can swallow a cancellation that meets the event.
                async with asyncio.timeout(self.timing.tick_s):
                    await self._wake.wait()
            self._wake.clear()
            for service in list(self.services.values()):
                if service.status == "INACTIVE":
                    continue
                try:
                    self.reconcile(service)
                except Exception:
                    # Boundary: a defect met in one service must not stop the scheduling of the others.
                    log.exception("ecs.service.defect", extra={"service": service.name})
            self._forget()
            # Changes come in bursts; one pass a tick serves them all.
            await asyncio.sleep(self.timing.tick_s / 4)

    def reconcile(self, service: Service) -> None:
        """One step of one service."""
        before = (service.deployments[:], service.status, len(service.events))
        rollout.advance(self, service)
        if before != (service.deployments[:], service.status, len(service.events)):
            self.publish(service)

    def _forget(self) -> None:
        """Drop what AWS would no longer show, and more of it if there is too much."""
        stopped = [t for t in self._tasks.values() if t.status is Status.STOPPED and t.arn not in self._lives]
        surplus = len(stopped) - STOPPED_TASKS_MAX
        horizon = definitions.now() - STOPPED_VISIBLE_S
        for index, task in enumerate(stopped):
            if index < surplus or (task.stopped_at or 0.0) < horizon:
                del self._tasks[task.arn]
                ministack.drop_task(task)
        inactive = [s for s in self.services.values() if s.status == "INACTIVE"]
        for service in inactive[: max(0, len(inactive) - INACTIVE_SERVICES_MAX)]:
            del self.services[service.arn]
            ministack.drop_service(service)


def _access_key(task_id: str) -> str:
    """A key of the task's own, in AWS's form, by which its calls are recognised."""
    return "ASIA" + base64.b32encode(hashlib.sha256(task_id.encode()).digest()).decode()[:16]


def _mac(task_id: str) -> str:
    # The second hexadecimal digit 2 marks a locally administered unicast address.
    return ":".join(["02", *(task_id[i : i + 2] for i in range(0, 10, 2))])
