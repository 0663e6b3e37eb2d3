"""Run branches and iterations at the same time, and stop all of them when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from kit.local.stepfunctions.clocks import cancel

# Runs the job with an index and returns its result.
Job = Callable[[int], Awaitable[Any]]


async def run_all(job: Job, count: int, at_once: int) -> list[Any]:
    """Return the results of `count` jobs in order. The first failure cancels the others and is raised."""
    results: list[Any] = [None] * count
    indexes = iter(range(count))

    async def work(waiting: Iterator[int]) -> None:
        for index in waiting:
            results[index] = await job(index)

    workers = [asyncio.ensure_future(work(indexes)) for _ in range(min(at_once, count))]
    if not workers:
        return results
    try:
        done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        for worker in workers:
            if worker in done:
                worker.result()
    finally:
        await cancel(*workers)
    return results
