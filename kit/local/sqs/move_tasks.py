"""Move messages from a dead-letter queue back to the queues that they came from, or to another one, at a rate."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.errors import KitError

RATE_MAX = 500
# Tasks of one queue that are remembered, as on AWS.
TASKS_MAX = 10
RESULTS_DEFAULT = 1
# Messages are moved in steps of at least this length.
STEP_S = 0.02
RUNNING, COMPLETED, CANCELLING, CANCELLED, FAILED = "RUNNING", "COMPLETED", "CANCELLING", "CANCELLED", "FAILED"
SOURCE = "DeadLetterQueueSourceArn"
# AWS's words for why a task fails.
NO_SOURCE, NO_QUEUE = "CouldNotDetermineMessageSource", "AWS.SimpleQueueService.NonExistentQueue"

Message = dict[str, Any]


class MoveRefused(KitError):
    """A task that SQS refuses, with its error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True, kw_only=True)
class MoveTask:
    """One task. Written by the task itself, and by who cancels it."""

    source_arn: str
    destination_arn: str = ""
    rate: int | None = None
    started_ms: int = 0
    to_move: int = 0
    moved: int = 0
    status: str = RUNNING
    failure: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def handle(self) -> str:
        """The identifier that clients get."""
        return base64.b64encode(json.dumps({"taskId": self.id, "sourceArn": self.source_arn}).encode()).decode()

    def describe(self) -> dict[str, Any]:
        """Return the entry of ListMessageMoveTasks. Absent members are left out, as on AWS."""
        entry = {
            "TaskHandle": self.handle if self.status == RUNNING else None,
            "Status": self.status,
            "SourceArn": self.source_arn,
            "DestinationArn": self.destination_arn or None,
            "MaxNumberOfMessagesPerSecond": self.rate,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "FailureReason": self.failure or None,
            "StartedTimestamp": self.started_ms,
        }
        return {key: value for key, value in entry.items() if value is not None}


@dataclass(slots=True, kw_only=True)
class Queues:
    """What a task does to queues.

    `take` removes and returns a message that is not in flight, `give_back` undoes that. `put` sends a message anew, and
    returns False if there is no such queue.
    """

    take: Callable[[str], Message | None]
    give_back: Callable[[str, Message], None]
    put: Callable[[str, Message], bool]


async def move(task: MoveTask, queues: Queues, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Move the messages that the queue had at the start, until all are moved or the task is cancelled or fails."""
    rate = task.rate or RATE_MAX
    step_s = max(STEP_S, 1 / rate)
    a_step = max(1, int(rate * step_s))
    while task.status == RUNNING and task.moved < task.to_move:
        for _ in range(min(a_step, task.to_move - task.moved)):
            message = queues.take(task.source_arn)
            if message is None:
                # The rest was received or deleted meanwhile.
                task.status = COMPLETED
                return
            target = task.destination_arn or message.get("sys", {}).get(SOURCE, "")
            if not target or not queues.put(target, message):
                queues.give_back(task.source_arn, message)
                task.status, task.failure = FAILED, NO_QUEUE if target else NO_SOURCE
                return
            task.moved += 1
        if task.moved < task.to_move:
            await sleep(step_s)
    task.status = CANCELLED if task.status == CANCELLING else COMPLETED


class MoveTasks:
    """The tasks of one cloud, by source queue."""

    def __init__(self) -> None:
        self._tasks: dict[str, list[MoveTask]] = {}

    def add(self, task: MoveTask) -> None:
        """Remember a new task. Raises MoveRefused if another one runs, or for a rate that AWS refuses."""
        if task.rate is not None and not 1 <= task.rate <= RATE_MAX:
            words = f"Value {task.rate} for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between "
            raise MoveRefused("InvalidParameterValue", f"{words}1 and {RATE_MAX}.")
        known = self._tasks.setdefault(task.source_arn, [])
        if any(each.status in (RUNNING, CANCELLING) for each in known):
            words = "There is already a task running. Only one active task is allowed for a source queue arn at a given"
            raise MoveRefused("AWS.SimpleQueueService.UnsupportedOperation", f"{words} time.")
        known.insert(0, task)
        del known[TASKS_MAX:]

    def latest(self, source_arn: str, count: int | None) -> list[dict[str, Any]]:
        """Describe the latest tasks of a queue, the newest first."""
        wanted = RESULTS_DEFAULT if count is None else count
        if not 1 <= wanted <= TASKS_MAX:
            raise MoveRefused("InvalidParameterValue", f"Value {wanted} for parameter MaxResults is invalid.")
        return [each.describe() for each in self._tasks.get(source_arn, [])[:wanted]]

    def cancel(self, handle: str) -> MoveTask:
        """Cancel a running task; what was moved stays moved. Raises MoveRefused."""
        task = next((each for tasks in self._tasks.values() for each in tasks if each.handle == handle), None)
        if task is None:
            raise MoveRefused("ResourceNotFoundException", "Task does not exist.")
        if task.status != RUNNING:
            raise MoveRefused(
                "AWS.SimpleQueueService.UnsupportedOperation",
                f"Only a running task can be cancelled, and this one is {task.status}.",
            )
        task.status = CANCELLING
        return task


def dead_letter_target(attributes: Mapping[str, str]) -> str:
    """Return the ARN of the dead-letter queue that a queue's attributes name, or ""."""
    try:
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
    except ValueError:
        return ""
    return str(policy.get("deadLetterTargetArn") or "") if isinstance(policy, dict) else ""
