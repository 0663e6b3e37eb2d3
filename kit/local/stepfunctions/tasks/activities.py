"""Keep activities, and hand their tasks to the workers that ask for one."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from kit.local.stepfunctions.errors import ApiError

# AWS answers a poll without a task after this time.
POLL_S_MAX = 60.0
ACTIVITIES_MAX = 10_000


@dataclass(slots=True, kw_only=True)
class ScheduledTask:
    """A task that waits for a worker. `taken` is set when one has come; `worker` is its name."""

    token: str
    input: str
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    worker: str = ""
    is_cancelled: bool = False


@dataclass(slots=True, kw_only=True)
class Activity:
    """An activity with its queue."""

    arn: str
    name: str
    created_at: float
    tags: dict[str, str]
    queue: deque[ScheduledTask] = field(default_factory=deque)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)


class Activities:
    """The activities of one cloud by their ARNs."""

    def __init__(self) -> None:
        self._activities: dict[str, Activity] = {}

    def create(self, arn: str, name: str, now: float, tags: dict[str, str]) -> Activity:
        """Create an activity, or return the one of this name. Raises ApiError."""
        found = self._activities.get(arn)
        if found is not None:
            if tags and tags != found.tags:
                raise ApiError("ActivityAlreadyExists", f"Activity Already Exists: '{arn}'")
            return found
        if len(self._activities) >= ACTIVITIES_MAX:
            raise ApiError("ActivityLimitExceeded", f"Activity Limit Exceeded: '{ACTIVITIES_MAX}'")
        made = self._activities[arn] = Activity(arn=arn, name=name, created_at=now, tags=tags)
        return made

    def get(self, arn: str) -> Activity:
        """Return an activity. Raises ApiError."""
        found = self._activities.get(arn)
        if found is None:
            raise ApiError("ActivityDoesNotExist", f"Activity does not exist: '{arn}'")
        return found

    def find(self, arn: str) -> Activity | None:
        """Return an activity, or None."""
        return self._activities.get(arn)

    def delete(self, arn: str) -> None:
        """Delete an activity; a missing one is no error."""
        self._activities.pop(arn, None)

    def all(self, prefix: str) -> list[Activity]:
        """Return the activities of an account and a Region, the newest first."""
        found = [each for arn, each in self._activities.items() if arn.startswith(prefix)]
        return sorted(found, key=lambda each: -each.created_at)


async def schedule(activity: Activity, task: ScheduledTask) -> None:
    """Put a task into the queue."""
    async with activity.arrived:
        activity.queue.append(task)
        activity.arrived.notify()


async def take(activity: Activity, worker: str, poll_s: float = POLL_S_MAX) -> ScheduledTask | None:
    """Return the next task for a worker, or None when none came in time."""
    try:
        async with asyncio.timeout(poll_s), activity.arrived:
            while True:
                while activity.queue:
                    task = activity.queue.popleft()
                    if not task.is_cancelled:
                        task.worker = worker
                        task.taken.set()
                        return task
                await activity.arrived.wait()
    except TimeoutError:
        return None
