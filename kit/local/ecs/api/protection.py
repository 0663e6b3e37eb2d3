"""Answer the ECS operations on task scale-in protection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kit.local.ecs.api import scope
from kit.local.ecs.scheduler import Scheduler
from kit.local.ecs.tasks import Task
from kit.local.ecs.wire import Reply, Request, invalid, is_true

UPDATE_MAX = 10
GET_MAX = 100
MINUTES = 120
MINUTES_MAX = 2880


class Protection:
    """The operations on the protection of a service's tasks."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def update_task_protection(self, request: Request) -> Reply:
        """Answer UpdateTaskProtection. Protection ends by itself after `expiresInMinutes`."""
        minutes = request.get("expiresInMinutes")
        minutes = MINUTES if minutes is None else int(minutes)
        if not 1 <= minutes <= MINUTES_MAX:
            raise invalid(f"expiresInMinutes must be between 1 and {MINUTES_MAX}, but is {minutes}.")
        until = time.time() + 60 * minutes if is_true(request.get("protectionEnabled")) else 0.0

        def protect(task: Task) -> None:
            task.protected_until = until
            self._scheduler.task_changed(task)

        return self._answer(request, UPDATE_MAX, protect)

    def get_task_protection(self, request: Request) -> Reply:
        """Answer GetTaskProtection."""
        return self._answer(request, GET_MAX, lambda _: None)

    def _answer(self, request: Request, most: int, act: Callable[[Task], None]) -> Reply:
        cluster = scope.cluster_of(request)
        tasks, failures = [], []
        for reference in scope.counted(request, "tasks", what="Tasks", most=most):
            task = scope.find_task(self._scheduler, cluster, reference)
            arn = scope.task_arn(cluster, reference)
            if task is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            elif not task.service or not task.live:
                failures.append({
                    "arn": arn, "reason": "TASK_NOT_VALID", "detail": "The task is not a running task of a service.",
                })  # fmt: skip
            else:
                act(task)
                tasks.append(_describe(task))
        return {"protectedTasks": tasks, "failures": failures}


def _describe(task: Task) -> dict[str, Any]:
    record: dict[str, Any] = {"taskArn": task.arn, "protectionEnabled": task.protected}
    return {**record, "expirationDate": task.protected_until} if task.protected else record
