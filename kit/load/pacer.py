"""Issue each operation at its scheduled time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from kit.load.orders import Operation, OrderFlow
from kit.load.plan import LoadPlan
from kit.load.schedule import TimerFd, arrivals_ns, idle_left_ns, without_pauses
from kit.model import NS_PER_S

START_S = 0.1  # from `start` to the schedule's zero, so that the first operations are not late
BURST_MAX = 32  # operations issued in one turn of the event loop, so that answers are read in between


class Pacer:
    """Runs from `start` until `stop` or the end of the schedule, and then sets `ended`."""

    def __init__(
        self,
        plan: LoadPlan,
        loop: asyncio.AbstractEventLoop,
        *,
        issue: Callable[[Operation, int], None],
    ) -> None:
        """Prepare to call `issue` with each operation and its intended time by the monotonic clock, in ns."""
        self._plan = plan
        self._loop = loop
        self._issue = issue
        self._flow = OrderFlow(plan)
        self._arrivals: Iterator[int] = iter(())
        self._timer: TimerFd | None = None
        self._zero_ns = 0
        self._next: Operation | None = None
        self._next_ns = 0
        self.intended = 0
        self.ended = asyncio.Event()

    def start(self) -> None:
        if self.ended.is_set():
            return
        plan = self._plan
        self._zero_ns = time.monotonic_ns() + int(START_S * NS_PER_S)
        arrivals = arrivals_ns(plan.seed, plan.rate_per_s, plan.duration_max_s)
        self._arrivals = without_pauses(arrivals, plan.busy_s, plan.idle_s)
        self._timer = TimerFd()
        self._loop.add_reader(self._timer.fd, self._tick)
        self._prepare()
        self._arm()

    def idle_left_s(self) -> float:
        """Return how long nothing is scheduled yet; 0 in a busy time."""
        offset_ns = max(0, time.monotonic_ns() - self._zero_ns)
        return idle_left_ns(offset_ns, self._plan.busy_s, self._plan.idle_s) / NS_PER_S

    def stop(self) -> None:
        if self._timer is not None:
            self._loop.remove_reader(self._timer.fd)
            self._timer.close()
            self._timer = None
        self.ended.set()

    def _prepare(self) -> None:
        """Generate the next operation ahead of time, so that it is not sent late."""
        offset_ns = next(self._arrivals, None)
        self._next = None if offset_ns is None else self._flow.operation(self.intended)
        self._next_ns = self._zero_ns + (offset_ns or 0)

    def _arm(self) -> None:
        if self._next is None:
            self.stop()
        elif self._timer is not None:
            self._timer.arm(self._next_ns - time.monotonic_ns())

    def _tick(self) -> None:
        if self._timer is None:
            return
        self._timer.clear()
        for _ in range(BURST_MAX):
            if self._next is None or self._next_ns > time.monotonic_ns():
                break
            self.intended += 1
            self._issue(self._next, self._next_ns)
            self._prepare()
        self._arm()
