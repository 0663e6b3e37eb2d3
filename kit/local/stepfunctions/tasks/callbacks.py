"""Keep the tasks that wait for a callback, by their tokens."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import uuid
from typing import Any

from kit.local.stepfunctions.clocks import Clock, cancel
from kit.local.stepfunctions.errors import TIMEOUT, ApiError, StateFailed


class HeartbeatMissed(StateFailed):
    """A task sent no heartbeat in time. States.Timeout and States.HeartbeatTimeout match it."""

    is_heartbeat = True

    def __init__(self) -> None:
        super().__init__(TIMEOUT, "")


class PendingTask:
    """A task that somebody else works on."""

    def __init__(self) -> None:
        self._ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._beat = asyncio.Event()

    @property
    def is_ended(self) -> bool:
        """Whether a result has been sent."""
        return self._ended.done()

    def beat(self) -> None:
        """Report that the worker lives."""
        self._beat.set()

    def succeed(self, output: Any) -> None:
        """End the task with its output."""
        self._ended.set_result(output)

    def fail(self, error: str | None, cause: str | None) -> None:
        """End the task with an error."""
        self._ended.set_exception(StateFailed(error, cause))
        self._ended.exception()  # retrieved, so that asyncio does not warn when nobody waits any more

    async def result(self, clock: Clock, heartbeat_s: int | None) -> Any:
        """Return the output. Raises StateFailed, HeartbeatMissed."""
        while True:
            beating = asyncio.ensure_future(self._beat.wait())
            waiting: list[asyncio.Future[Any]] = [beating]
            if heartbeat_s is not None:
                waiting.append(asyncio.ensure_future(clock.sleep(heartbeat_s)))
            try:
                await asyncio.wait({self._ended, *waiting}, return_when=asyncio.FIRST_COMPLETED)
                if self._ended.done():
                    return self._ended.result()
                if not self._beat.is_set():
                    raise HeartbeatMissed
                self._beat.clear()
            finally:
                await cancel(*waiting)


class Callbacks:
    """The pending tasks of one cloud."""

    def __init__(self) -> None:
        self._tasks: dict[str, PendingTask] = {}

    def new_token(self, execution_arn: str) -> str:
        """Return a token for a task that is about to begin."""
        content = json.dumps({"execution": execution_arn, "task": str(uuid.uuid4())})
        return base64.b64encode(content.encode()).decode()

    def open(self, token: str) -> PendingTask:
        """Wait for callbacks with this token."""
        task = self._tasks[token] = PendingTask()
        return task

    def close(self, token: str) -> None:
        """Refuse further callbacks with this token."""
        self._tasks.pop(token, None)

    def find(self, token: str) -> PendingTask:
        """Return the task that waits. Raises ApiError."""
        task = self._tasks.get(token)
        if task is not None and not task.is_ended:
            return task
        if not _is_token(token):
            raise ApiError("InvalidToken", "Invalid Token: 'Invalid token'")
        raise ApiError("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")


def _is_token(text: str) -> bool:
    try:
        content = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False
    return isinstance(content, dict) and content.keys() == {"execution", "task"}
