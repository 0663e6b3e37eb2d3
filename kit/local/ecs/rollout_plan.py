"""Decide how many tasks a service starts and stops next, from counts and health only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kit.local.ecs.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The tasks to start and to stop now."""

    start: int = 0
    stop: tuple[Task, ...] = ()


def plan(
    *,
    desired: int,
    minimum_percent: int,
    maximum_percent: int,
    primary_id: str,
    tasks: Sequence[Task],
    may_start: bool = True,
) -> Plan:
    """Return the next step towards `desired` healthy tasks of the primary deployment.

    `tasks` are the live tasks. A step never leads to more than the maximum of live tasks, and never stops so many that
    fewer than the minimum stay healthy. `may_start` is False while a failed deployment or throttling forbids starts.
    An unhealthy task is then kept, because it may still serve. Protected tasks are stopped only if they are unhealthy.
    """
    minimum = math.ceil(desired * minimum_percent / 100)
    # With 100 % for both, no task is ever replaced, as on AWS. A maximum below 100 % must still reach `desired`.
    maximum = max(desired, math.floor(desired * maximum_percent / 100))
    current = [t for t in tasks if t.deployment_id == primary_id]
    good = [t for t in current if not t.unhealthy_reason]
    old = [t for t in tasks if t.deployment_id != primary_id]
    missing = max(0, desired - len(good))
    start = min(missing, max(0, maximum - len(tasks))) if may_start else 0

    # Counted with the protected ones: the order must spread what is left over the zones.
    stop = [t for t in _scale_in_order(good) if not t.protected][: max(0, len(good) - desired)]
    healthy = sum(t.healthy and not t.unhealthy_reason for t in tasks) - sum(t.healthy for t in stop)
    stop += _unhealthy_to_stop([t for t in tasks if t.unhealthy_reason], good, desired, missing - start, may_start)
    for task in _unhealthy_first(old):
        if task in stop or task.protected or (not may_start and missing):
            continue
        if not task.healthy or healthy > minimum:
            # An unhealthy old task can stop at no cost. A healthy one must leave the minimum healthy.
            healthy -= task.healthy
            stop.append(task)
    return Plan(start=start, stop=tuple(stop))


def _unhealthy_to_stop(
    unhealthy: list[Task], good: list[Task], desired: int, unplaced: int, may_start: bool
) -> list[Task]:
    """Return the unhealthy tasks to stop: all once replacements are healthy, else as many as block a start."""
    if sum(t.healthy for t in good) >= desired:
        return list(unhealthy)
    return unhealthy[:unplaced] if may_start else []


def _unhealthy_first(old: Sequence[Task]) -> list[Task]:
    return sorted(old, key=lambda task: (task.healthy, task.created_at))


def _scale_in_order(tasks: Sequence[Task]) -> list[Task]:
    """Return tasks in the order in which scaling in stops them: fullest zone first, then pending, then newest."""
    remaining = list(tasks)
    order: list[Task] = []
    while remaining:
        zones = [t.zone for t in remaining]
        pick = max(remaining, key=lambda t: (zones.count(t.zone), not t.healthy, t.created_at))
        remaining.remove(pick)
        order.append(pick)
    return order
