"""How many tasks a service starts and stops next: a pure decision on counts and health.

Owns the arithmetic of rolling deployments and of replacing unhealthy tasks. Must not know processes, clocks
or AWS words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kit.local.ecs.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now."""

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
    """The next step towards `desired` healthy tasks of the primary deployment.

    `tasks` are the live ones (wanted running). Never more than the maximum are live and, as far as it is in
    the scheduler's hands, never fewer than the minimum healthy. `may_start` is False while a failed
    deployment or throttling forbids starts; an unhealthy task is then kept, for it may still serve.
    """
    minimum = math.ceil(desired * minimum_percent / 100)
    # 100 % both ways never replaces a task, on AWS neither; a maximum below 100 % must still reach the desired.
    maximum = max(desired, math.floor(desired * maximum_percent / 100))
    current = [t for t in tasks if t.deployment_id == primary_id]
    good = [t for t in current if not t.unhealthy_reason]
    old = [t for t in tasks if t.deployment_id != primary_id]
    missing = max(0, desired - len(good))
    start = min(missing, max(0, maximum - len(tasks))) if may_start else 0

    stop = _spread_order(good)[: max(0, len(good) - desired)]
    healthy = sum(t.healthy and not t.unhealthy_reason for t in tasks) - sum(t.healthy for t in stop)
    stop += _replaced_unhealthy([t for t in tasks if t.unhealthy_reason], good, desired, missing - start, may_start)
    for task in _old_first_useless(old):
        if task in stop or (not may_start and missing):
            continue
        if not task.healthy or healthy > minimum:
            # A useless old task makes room at no cost; a healthy one goes only from above the minimum.
            healthy -= task.healthy
            stop.append(task)
    return Plan(start=start, stop=tuple(stop))


def _replaced_unhealthy(
    unhealthy: list[Task], good: list[Task], desired: int, unplaced: int, may_start: bool
) -> list[Task]:
    """Unhealthy tasks to stop: all once their replacements are healthy, else as many as block a start."""
    if sum(t.healthy for t in good) >= desired:
        return list(unhealthy)
    return unhealthy[:unplaced] if may_start else []


def _old_first_useless(old: Sequence[Task]) -> list[Task]:
    return sorted(old, key=lambda task: (task.healthy, task.created_at))


def _spread_order(tasks: Sequence[Task]) -> list[Task]:
    """Tasks in the order in which scaling in takes them: from the fullest zone, pending and newest first."""
    remaining = list(tasks)
    order: list[Task] = []
    while remaining:
        zones = [t.zone for t in remaining]
        pick = max(remaining, key=lambda t: (zones.count(t.zone), not t.healthy, t.created_at))
        remaining.remove(pick)
        order.append(pick)
    return order
