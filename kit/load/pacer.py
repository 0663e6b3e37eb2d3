"""Issue each operation at its scheduled time."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator

from kit.load.orders import Operation, OrderFlow
from kit.load.plan import LoadPlan
from kit.load.schedule import TimerFd, idle_left_ns
from kit.load.shards import Shard, duration_ns
from kit.model import NS_PER_S

START_S = 0.1  # from `start` to the schedule's zero, so that the first operations are not late
BURST_MAX = 32  # operations issued in one turn of the event loop, so that answers are read in between


class Pacer:
    """Runs from `start` until `stop`, `stop_at` or the end of the schedule, and then sets `ended`.

    `intended` counts the operations that were issued.
    """

    def __init__(
        self,
        plan: LoadPlan,
        loop: asyncio.AbstractEventLoop,
        *,
        issue: Callable[[Operation, int], None],
        shard: Shard,
    ) -> None:
        """Prepare to call `issue` with each operation and its intended time by the monotonic clock, in ns."""
        self._plan = plan
        self._loop = loop
        self._issue = issue
        self._flow = OrderFlow(plan)
        self._shard = shard
        self._arrivals: Iterator[tuple[int, int]] = iter(())
        self._timer: TimerFd | None = None
        self._zero_ns = 0
        self._next: Operation | None = None
        self._next_ns = 0
        self._last_ns = 0  # of the last operation that was issued
        self._stop_ns: float = math.inf  # monotonic
        self._cut_ns: int | None = None  # of the first operation that was left out by `stop`
        self.intended = 0
        self.ended = asyncio.Event()

    def start(self, zero_ns: int = 0) -> None:
        """Begin the schedule at this monotonic time, by default as soon as the first operations can be in time."""
        if self.ended.is_set():
            return
        self._zero_ns = zero_ns or time.monotonic_ns() + int(START_S * NS_PER_S)
        self._arrivals = self._shard.arrivals(self._plan)
        self._timer = TimerFd()
        self._loop.add_reader(self._timer.fd, self._tick)
        self._prepare()
        self._arm()

    def idle_left_s(self) -> float:
        """Return how long nothing is scheduled yet; 0 in a busy time."""
        offset_ns = max(0, time.monotonic_ns() - self._zero_ns)
        return idle_left_ns(offset_ns, self._plan.busy_s, self._plan.idle_s) / NS_PER_S

    async def wait_until(self, at_ns: int) -> None:
        """Wait until a monotonic time, or until the pacer is stopped."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), max(0, at_ns - time.monotonic_ns()) / NS_PER_S)

    @property
    def end_ns(self) -> int:
        """The offset before which every operation of the schedule was issued, and from which on none was."""
        end_ns = min(self._zero_ns + duration_ns(self._plan), max(self._stop_ns, self._last_ns + 1))
        return int(end_ns if self._cut_ns is None else self._cut_ns) - self._zero_ns

    def stop_at(self, stop_ns: int) -> None:
        """Issue no operation whose intended time is at or after this monotonic time."""
        self._stop_ns = stop_ns
        if self._next_ns >= stop_ns:
            self._next = None
            self._arm()

    def stop(self) -> None:
        """Issue no further operation."""
        if not self.ended.is_set():
            self._cut_ns = self._next_ns
        self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._loop.remove_reader(self._timer.fd)
            self._timer.close()
            self._timer = None
        self.ended.set()

    def _prepare(self) -> None:
        """Generate the next operation ahead of time, so that it is not sent late."""
        number, offset_ns = next(self._arrivals, (None, 0))
        self._next_ns = self._zero_ns + offset_ns
        is_over = self._next_ns >= self._stop_ns
        self._next = None if number is None or is_over else self._flow.operation(number)

    def _arm(self) -> None:
        if self._timer is None:
            return
        if self._next is None:
            self._end()
        else:
            self._timer.arm(self._next_ns - time.monotonic_ns())

    def _tick(self) -> None:
        if self._timer is None:
            return
        self._timer.clear()
        for _ in range(BURST_MAX):
            if self._next is None or self._next_ns > time.monotonic_ns():
                break
            self.intended += 1
            self._last_ns = self._next_ns
            self._issue(self._next, self._next_ns)
            self._prepare()
        self._arm()
