"""Run a task from PROVISIONING to STOPPED: its steps, the environment of its containers, and its stop sequence."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from kit.errors import KitError
from kit.local.ecs import container_health, container_secrets, dependencies
from kit.local.ecs.container_logs import Shipper, destination_of
from kit.local.ecs.container_process import CannotStartContainer, PortsExhausted, free_port, spawn
from kit.local.ecs.sidecar_placeholders import is_placeholder
from kit.local.ecs.tasks import Container, Status, StopCode, Task
from kit.local.ecs.timing import DEREGISTER_S_MAX, PULL_S_MAX, STOP_TIMEOUT_S, STOP_TIMEOUT_S_MAX, Timing
from kit.local.endpoints import AWS, Endpoint
from kit.local.environment import inherited
from kit.local.links import LinkReset, Links
from kit.local.log_streams import LogGroupMissing

log = logging.getLogger(__name__)

T = TypeVar("T")
# The endpoint from which images are pulled.
REGISTRY = Endpoint(kind=AWS, id="ecr", service="ecr")

METADATA_VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
# Marks the processes of one container, of which nothing may be left when it stops. AWS has no such variable.
CONTAINER_VARIABLE = "GAMEDAY_CONTAINER"
ESSENTIAL_EXITED = "Essential container in task exited"


class Images(Protocol):
    """The source of the root file systems of containers."""

    def unpack(self, image_uri: str) -> Path:
        """Return the image's root file system; called in a worker thread."""
        ...


class LoadBalancers(Protocol):
    """The load balancers at which tasks are registered as targets."""

    def register(self, group_arn: str, *, target_id: str, port: int, host_port: int, endpoint: Endpoint) -> None:
        """Register a target that listens on 127.0.0.1:`host_port`."""
        ...

    async def deregister(self, group_arn: str, target_id: str, port: int) -> None:
        """Drain a target and remove it."""
        ...

    def health(self, group_arn: str, target_id: str, port: int) -> str:
        """Return the target's state."""
        ...


class StartFailed(KitError):
    """The task cannot start. The message is its stopped reason."""


@dataclass(slots=True, kw_only=True)
class Lifecycle:
    """Run tasks. `changed` is called after every visible change of a task."""

    links: Links
    load_balancers: LoadBalancers
    images: Images
    endpoint_url: str
    timing: Timing
    rng: random.Random
    changed: Callable[[Task], None]
    _ports: set[int] = field(default_factory=set)
    _shippers: dict[str, Shipper] = field(default_factory=dict)
    _pulling: asyncio.Lock = field(default_factory=asyncio.Lock)
    _closing: bool = False

    def close(self) -> None:
        """Let tasks stop fast from now on, without draining and with a short grace period."""
        self._closing = True

    async def run(self, task: Task) -> None:
        """Run the task. Returns when it is STOPPED and none of its processes is left."""
        watchers: list[asyncio.Task[None]] = []
        try:
            await self._begin(task, watchers)
            await task.stop_requested.wait()
        except StartFailed as error:
            task.failed_start = True
            task.request_stop(StopCode.FAILED_TO_START, str(error))
        except Exception as error:
            # Boundary: a defect in one task's start must stop that task visibly, not the scheduler.
            log.exception("ecs.task.defect", extra={"task": task.id})
            task.failed_start = True
            task.request_stop(StopCode.FAILED_TO_START, f"ResourceInitializationError: {error}")
        finally:
            await self._end(task, watchers)

    async def _begin(self, task: Task, watchers: list[asyncio.Task[None]]) -> None:
        if not await self._pause(task, self.timing.provision_s):
            return
        task.connected_at = time.time()
        self._set_status(task, Status.PENDING)
        task.pull_started_at = time.time()
        roots = await self._unless_stopped(task, self._pull_all(task))
        # One task at a time. When a zone comes back, all its replacements would start at once, and on the few cores of
        # one machine they would starve the tasks that serve.
        async with self._pulling:
            if roots is None or not await self._pause(task, self.timing.pull_s):
                return
        task.pull_stopped_at = time.time()
        await self._start_all(task, roots, watchers)
        if any(container.status == "PENDING" for container in task.containers):
            return  # stopped while a container waited for another one
        self._set_status(task, Status.ACTIVATING)
        self._register(task)
        task.started_at = time.time()
        task.started_mono = asyncio.get_running_loop().time()
        if task.live:
            self._set_status(task, Status.RUNNING)

    async def _pause(self, task: Task, between_s: tuple[float, float]) -> bool:
        """Wait a seeded time. Returns False if the task was asked to stop meanwhile."""
        try:
            async with asyncio.timeout(self.rng.uniform(*between_s)):
                await task.stop_requested.wait()
        except TimeoutError:
            return True
        return False

    async def _unless_stopped(self, task: Task, work: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of `work`, or None if the task was asked to stop before it was done."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(task.stop_requested.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            for future in (working, stopping):
                future.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    async def _pull_all(self, task: Task) -> dict[str, Path]:
        """Return the root folder of every container that has a process. In a cut-off zone no image can be pulled."""
        try:
            async with asyncio.timeout(PULL_S_MAX):
                await self.links.carry(task.endpoint, REGISTRY)
                real = [c for c in task.containers if not is_placeholder(c.definition["image"])]
                roots = {c.id: await self._pull(c) for c in real}
                await self.links.carry(REGISTRY, task.endpoint)
        except (TimeoutError, LinkReset) as error:
            image = task.containers[0].definition["image"]
            raise StartFailed(
                "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref "
                f"{image}: i/o timeout"
            ) from error
        return roots

    async def _pull(self, container: Container) -> Path:
        image = container.definition["image"]
        try:
            return await asyncio.to_thread(self.images.unpack, image)
        except (KitError, OSError, LookupError, ValueError) as error:
            raise StartFailed(f"CannotPullContainerError: {error}") from error

    async def _start_all(self, task: Task, roots: dict[str, Path], watchers: list[asyncio.Task[None]]) -> None:
        """Start each container when those that it depends on let it. Raises the first failure."""
        try:
            secrets = {
                c.id: container_secrets.resolve(c.definition, account=task.account, region=task.region)
                for c in task.containers
            }
        except container_secrets.SecretMissing as error:
            raise StartFailed(
                f"ResourceInitializationError: unable to pull secrets or registry auth: {error}"
            ) from error

        async def start(container: Container) -> None:
            container.environment |= secrets[container.id]
            try:
                if container.definition.get("dependsOn"):
                    await self._unless_stopped(task, dependencies.wait_for(container, task.containers))
                if not task.live:
                    return
                if container.id in roots:
                    await self._start(task, container, roots[container.id], watchers)
                else:
                    container.status = "RUNNING"
            except (StartFailed, dependencies.DependencyFailed) as error:
                # Said here, so that containers that still wait give up.
                task.failed_start = True
                task.request_stop(StopCode.FAILED_TO_START, str(error))
                raise StartFailed(str(error)) from error

        started = await asyncio.gather(*map(start, task.containers), return_exceptions=True)
        if failures := [each for each in started if isinstance(each, BaseException)]:
            raise failures[0]

    async def _start(self, task: Task, container: Container, root: Path, watchers: list[asyncio.Task[None]]) -> None:
        destination = destination_of(container.definition, task_id=task.id, account=task.account, region=task.region)
        try:
            if destination is not None:
                destination.create()
            cwd = _working_directory(container, root)
            env = self._environment(task, container, root)
            marker = f"{CONTAINER_VARIABLE}={env[CONTAINER_VARIABLE]}"
            container.process = await spawn(container.command, env=env, cwd=cwd, marker=marker)
        except LogGroupMissing as error:
            raise StartFailed(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
                f"failed to create Cloudwatch log stream: ResourceNotFoundException: {error}"
            ) from error
        except (CannotStartContainer, PortsExhausted) as error:
            container.reason = f"CannotStartContainerError: {error}"
            raise StartFailed(container.reason) from error
        container.status = "RUNNING"
        self._shippers[self._key(task, container)] = shipper = Shipper(
            source=container.process.output, destination=destination
        )
        shipper.start()
        watchers.append(asyncio.create_task(self._watch(task, container), name=f"ecs-watch-{task.id[:8]}"))
        if (check := container_health.HealthCheck.of(container.definition)) is not None:
            watching = container_health.watch(
                check, container, env=env, cwd=cwd, marker=marker, changed=lambda: self._notify_changed(task)
            )
            watchers.append(asyncio.create_task(watching, name=f"ecs-health-{task.id[:8]}"))

    def _environment(self, task: Task, container: Container, root: Path) -> dict[str, str]:
        """Return the container's environment. It inherits from the machine only where programs are."""
        env = inherited(os.environ)
        # The home of the machine's user would expose its AWS profiles.
        env |= {"HOME": str(root), "PYTHONPATH": str(_app_folder(root)), "PYTHONUNBUFFERED": "1"}
        env |= container.environment
        for mapping in container.definition.get("portMappings") or []:
            port = int(mapping["containerPort"])
            if port not in container.ports:
                container.ports[port] = free_port(self._ports)
                self._ports.add(container.ports[port])
            env[f"PORT_{port}"] = str(container.ports[port])
        if container.ports:
            env["PORT"] = str(next(iter(container.ports.values())))
        return env | {
            "AWS_ACCESS_KEY_ID": task.access_key,
            "AWS_SECRET_ACCESS_KEY": task.secret_key,
            "AWS_REGION": task.region,
            "AWS_DEFAULT_REGION": task.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
            METADATA_VARIABLE: f"{self.endpoint_url}/_ecs/v4/{task.id}",
            CONTAINER_VARIABLE: f"{task.id}/{container.id}",
        }

    async def _watch(self, task: Task, container: Container) -> None:
        assert container.process is not None, "watched after its start"
        container.exit_code = await container.process.wait()
        container.status = "STOPPED"
        if container.essential and task.live:
            started = task.started_mono or asyncio.get_running_loop().time()
            task.failed_start = asyncio.get_running_loop().time() - started < self.timing.failed_start_s
            task.request_stop(StopCode.CONTAINER_EXITED, ESSENTIAL_EXITED)
        self._notify_changed(task)

    async def _end(self, task: Task, watchers: list[asyncio.Task[None]]) -> None:
        if any(c.process for c in task.containers):
            self._set_status(task, Status.DEACTIVATING)
            await self._deregister(task)
            self._set_status(task, Status.STOPPING)
            for group in dependencies.stop_order(task.containers):
                await asyncio.gather(*(self._stop(task, c) for c in group if c.process is not None))
            task.execution_stopped_at = time.time()
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        self._set_status(task, Status.DEPROVISIONING)
        for container in task.containers:
            container.status = "STOPPED"
            if container.process is not None:
                container.process.release()
            self._ports.difference_update(container.ports.values())
        task.stopped_at = time.time()
        self._set_status(task, Status.STOPPED)
        task.done.set()

    async def _stop(self, task: Task, container: Container) -> None:
        process = container.process
        assert process is not None, "stopped after its start"
        if not await process.stop(self._grace_s(task, container)):
            log.error("ecs.container.not_ended", extra={"task": task.id, "pid": process.pid})
        container.exit_code = process.exit_code
        container.status = "STOPPED"
        shipper = self._shippers.pop(self._key(task, container), None)
        if shipper is not None:
            await shipper.finish()

    def _grace_s(self, task: Task, container: Container) -> float:
        if self._closing:
            return self.timing.shutdown_grace_s
        asked = container.definition.get("stopTimeout")
        return min(STOP_TIMEOUT_S_MAX, float(STOP_TIMEOUT_S if asked is None else asked))

    def _register(self, task: Task) -> None:
        for target in task.targets:
            host_port = next(c.ports[target.port] for c in task.containers if c.name == target.container)
            self.load_balancers.register(
                target.group_arn, target_id=task.ip, port=target.port, host_port=host_port, endpoint=task.endpoint
            )

    async def _deregister(self, task: Task) -> None:
        """Remove the task from its target groups, which drain it, before its containers get SIGTERM."""
        if task.started_at is None or not task.targets:
            return
        drains = [
            asyncio.ensure_future(self.load_balancers.deregister(t.group_arn, target_id=task.ip, port=t.port))
            for t in task.targets
        ]
        # Without a process, or when the cloud closes, there is nothing to drain. Deregister without waiting.
        dead = task.stop_code == StopCode.CONTAINER_EXITED
        drain_s_max = 0.0 if dead or self._closing else DEREGISTER_S_MAX
        _, pending = await asyncio.wait(drains, timeout=drain_s_max)
        for drain in pending:
            if self._closing:
                drain.cancel()

    @staticmethod
    def _key(task: Task, container: Container) -> str:
        return f"{task.id}/{container.id}"

    def _set_status(self, task: Task, status: Status) -> None:
        task.status = status
        self._notify_changed(task)

    def _notify_changed(self, task: Task) -> None:
        task.version += 1
        self.changed(task)


def _working_directory(container: Container, root: Path) -> Path:
    """Return the folder in which the container's command runs; it is created if the image does not have it."""
    given = container.definition.get("workingDirectory")
    if not given:
        return _app_folder(root)
    folder = (root / str(given).lstrip("/")).resolve()
    if not folder.is_relative_to(root.resolve()):
        raise CannotStartContainer(f"the working directory {given} is outside of the image")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStartContainer(f"working directory {given}: {error.strerror}") from error
    return folder


def _app_folder(root: Path) -> Path:
    """Return the folder in which the base image runs commands, and in which Python finds its modules."""
    return root / "app" if (root / "app").is_dir() else root
