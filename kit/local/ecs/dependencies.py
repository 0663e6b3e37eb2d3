"""Order the containers of a task by their `dependsOn`: when each may start, and which stop first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from kit.errors import KitError
from kit.local.ecs.tasks import Container, Health
from kit.local.ecs.timing import DEPENDENCY_POLL_S, DEPENDENCY_S_MAX


class DependencyFailed(KitError):
    """A container that another one depends on can no longer reach the condition, or did not in time."""


async def wait_for(container: Container, siblings: Sequence[Container]) -> None:
    """Wait until every condition of the container's dependencies is met. Raises DependencyFailed."""
    by_name = {each.name: each for each in siblings}
    for dependency in container.definition.get("dependsOn") or ():
        await _wait(by_name[dependency["containerName"]], dependency["condition"])


async def _wait(other: Container, condition: str) -> None:
    limit_s = float(other.definition.get("startTimeout") or DEPENDENCY_S_MAX)
    try:
        async with asyncio.timeout(limit_s):
            # A container's state has no event of its own, so it is polled.
            while not _is_met(other, condition):  # noqa: ASYNC110
                await asyncio.sleep(DEPENDENCY_POLL_S)
    except TimeoutError as error:
        raise DependencyFailed(f"container {other.name} did not reach {condition} within {limit_s:g} s") from error


def _is_met(other: Container, condition: str) -> bool:
    ended = other.exit_code is not None
    if condition == "START":
        return other.status != "PENDING"
    if condition == "COMPLETE":
        return ended
    if condition == "SUCCESS":
        if ended and other.exit_code != 0:
            raise DependencyFailed(f"container {other.name} ended with exit code {other.exit_code}")
        return ended
    if ended or other.health is Health.UNHEALTHY:
        raise DependencyFailed(f"container {other.name} {'ended' if ended else 'is unhealthy'} and cannot be HEALTHY")
    return other.health is Health.HEALTHY


def stop_order(containers: Sequence[Container]) -> list[list[Container]]:
    """Return the containers in groups that stop one after the other: each before those that it depends on."""
    by_name = {each.name: each for each in containers}
    depths: dict[str, int] = {}

    def depth(container: Container) -> int:
        if container.name not in depths:
            others = [by_name[d["containerName"]] for d in container.definition.get("dependsOn") or ()]
            depths[container.name] = max((depth(other) + 1 for other in others), default=0)
        return depths[container.name]

    for each in containers:
        depth(each)
    levels = sorted(set(depths.values()), reverse=True)
    return [[each for each in containers if depths[each.name] == level] for level in levels]
