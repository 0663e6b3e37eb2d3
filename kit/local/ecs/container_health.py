"""Run container health checks: the `healthCheck` command of a container definition."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.local.ecs.container_process import CannotStartContainer, spawn
from kit.local.ecs.tasks import Container, Health

# ECS's defaults, in seconds and times.
INTERVAL_S = 30.0
TIMEOUT_S = 5.0
RETRIES = 3
START_PERIOD_S = 0.0
# Until its first success a container is checked this often. ECS waits a whole interval, but our containers are up in
# about a second, and a deployment waits for the first HEALTHY.
FIRST_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """The `healthCheck` of a container definition."""

    argv: tuple[str, ...]
    interval_s: float = INTERVAL_S
    timeout_s: float = TIMEOUT_S
    retries: int = RETRIES
    start_period_s: float = START_PERIOD_S

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> "HealthCheck | None":
        """Return the container definition's health check, or None."""
        check = definition.get("healthCheck") or {}
        command = [str(word) for word in check.get("command") or []]
        if not command or command == ["NONE"]:
            return None
        if command[0] == "CMD-SHELL":
            argv = ("/bin/sh", "-c", " ".join(command[1:]))
        else:
            argv = tuple(command[1:] if command[0] == "CMD" else command)
        return cls(
            argv=argv,
            interval_s=float(check.get("interval") or INTERVAL_S),
            timeout_s=float(check.get("timeout") or TIMEOUT_S),
            retries=int(check.get("retries") or RETRIES),
            start_period_s=float(check.get("startPeriod") or START_PERIOD_S),
        )


async def watch(
    check: HealthCheck,
    container: Container,
    *,
    env: Mapping[str, str],
    cwd: Path,
    marker: str,
    changed: Callable[[], None],
) -> None:
    """Run the check until cancelled, and set `container.health`. Failures in the start period do not count.

    The process of a cancelled check carries the container's marker, so it is killed with the container.
    """
    began = asyncio.get_running_loop().time()
    failures = 0
    while True:
        fresh = container.health is Health.UNKNOWN
        await asyncio.sleep(min(check.interval_s, FIRST_INTERVAL_S) if fresh else check.interval_s)
        passed = await _passes(check, env=env, cwd=cwd, marker=marker)
        # The frequent first checks must not fail a container sooner than its own interval would.
        free_s = max(check.start_period_s, check.interval_s if fresh else 0.0)
        in_start_period = asyncio.get_running_loop().time() - began < free_s
        failures = 0 if passed else failures + (not in_start_period)
        health = Health.HEALTHY if passed else Health.UNHEALTHY if failures >= check.retries else container.health
        if health is not container.health:
            container.health = health
            changed()


async def _passes(check: HealthCheck, *, env: Mapping[str, str], cwd: Path, marker: str) -> bool:
    try:
        process = await spawn(check.argv, env=env, cwd=cwd, marker=marker)
    except CannotStartContainer:
        return False
    try:
        async with asyncio.timeout(check.timeout_s):
            await process.output.read(-1)
            return await process.wait() == 0
    except TimeoutError:
        return False
    finally:
        process.kill()
