"""Start and stop the local ECS, and show its tasks to other services."""

import random
from typing import Any

from kit.local.ecs import ministack
from kit.local.ecs.cloudformation import ServiceResource
from kit.local.ecs.cloudformation_definitions import DefinitionResources
from kit.local.ecs.lifecycle import Images, Lifecycle, LoadBalancers
from kit.local.ecs.operations import handlers_of
from kit.local.ecs.scheduler import Scheduler
from kit.local.ecs.tasks import Task
from kit.local.ecs.timing import Timing
from kit.local.endpoints import Endpoint
from kit.local.links import Links
from kit.local.patching import Patches


class Ecs:
    """The ECS of one local cloud. Use it from its event loop only."""

    def __init__(
        self, seed: int, *, links: Links, load_balancers: LoadBalancers, images: Images, endpoint_url: str,
        timing: Timing | None = None,
    ) -> None:  # fmt: skip
        timing, rng = timing or Timing(), random.Random(f"ecs/{seed}")
        self._scheduler = Scheduler(
            timing=timing, rng=rng, target_health=load_balancers.health, find_alarm=ministack.find_alarm
        )
        self._lifecycle = Lifecycle(
            links=links, load_balancers=load_balancers, images=images, endpoint_url=endpoint_url,
            timing=timing, rng=rng, changed=self._scheduler.task_changed,
        )  # fmt: skip
        self._handlers = handlers_of(self._scheduler)
        self._resource = ServiceResource(self._scheduler, self._handlers)
        self._patches = Patches()

    async def start(self) -> None:
        """Take ECS's services and tasks over from MiniStack and begin to schedule."""
        ministack.install(self._patches, self._handlers, self._scheduler.update_tags)
        self._resource.install(self._patches)
        DefinitionResources(self._handlers).install(self._patches)
        self._scheduler.start(self._lifecycle)

    async def stop(self) -> None:
        """End every task, then undo the patches. Stacks that wait for a service fail at once."""
        try:
            await self._scheduler.stop()
        finally:
            self._resource.close()
            self._patches.undo()

    def tasks(self) -> list[Task]:
        """Return every task, oldest first, including those stopped in the last hour."""
        return self._scheduler.tasks()

    def task(self, reference: str) -> Task | None:
        """Return the task with this ARN or id, or None."""
        return self._scheduler.task(reference)

    async def stop_task(self, task_arn: str, reason: str) -> Task | None:
        """Ask a task to stop, as StopTask does. Returns at once; None if there is no such task.

        Await `task.done` to wait until none of its processes is left.
        """
        return self._scheduler.stop_task(task_arn, reason)

    def endpoint_of_key(self, access_key: str) -> Endpoint | None:
        """Return the endpoint of the task with this access key, or None."""
        task = self._scheduler.task_of_key(access_key)
        return None if task is None else task.endpoint

    def secret_of_key(self, access_key: str) -> str | None:
        """Return the secret of the task with this access key, or None."""
        task = self._scheduler.task_of_key(access_key)
        return None if task is None else task.secret_key

    def metadata(self, task_id: str) -> dict[str, Any] | None:
        """Return the task document of the metadata endpoint v4, or None if there is no such task."""
        task = self._scheduler.task(task_id)
        return None if task is None else task.metadata()
