"""Hold the effects of the engine: time, sleep and randomness, which tests replace."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


class TimeIsUp(Exception):
    """The awaited did not end within its time."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall time in seconds, a sleep, and a source of random numbers from 0 to 1."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random

    async def within(self, seconds: float | None, work: Awaitable[T]) -> T:
        """Await the work, and cancel it when the time is up. Raises TimeIsUp."""
        if seconds is None:
            return await work
        working, sleeping = asyncio.ensure_future(work), asyncio.ensure_future(self.sleep(seconds))
        try:
            await asyncio.wait({working, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise TimeIsUp
        finally:
            await cancel(working, sleeping)


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until they have ended. What they raise is dropped."""
    for task in tasks:
        task.cancel()
    waiting = [task for task in tasks if not task.done()]
    if waiting:
        await asyncio.wait(waiting)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not warn
