"""Bulkhead for store calls: a bounded thread pool and queue, a circuit breaker, and a deadline per request.

A slot is released when its call has ended, even if its caller has given up. Otherwise hanging calls would be followed
by more, and a slow store would get an unbounded number of calls. A request that is refused before its call starts
raises `Overloaded`: it had no effect. A call that is still running at the deadline raises `StoreUnavailable`: its
outcome is unknown.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

from paperbroker.errors import ClientOverloaded, Overloaded, StoreUnavailable
from paperbroker.services.breaker import Breaker
from paperbroker.services.retry_budget import CALL_S_MIN, REQUEST_S
from paperbroker.services.telemetry import Telemetry

R = TypeVar("R")


class Bulkhead:
    """A bulkhead around blocking calls. Call `run` from the event loop only."""

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        waiting_max: int,
        client_max: int,
        breaker: Breaker,
        telemetry: Telemetry,
        request_s: float = REQUEST_S,
    ) -> None:
        self.breaker = breaker
        self._name = name
        self._capacity = threads + waiting_max
        self._client_max = client_max
        self._telemetry = telemetry
        self._request_s = request_s
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._taken = 0
        self._by_client: Counter[str] = Counter()

    def deadline(self) -> float:
        """Return the deadline, on the monotonic clock, of a request that arrives now."""
        return time.monotonic() + self._request_s

    async def run(self, client_id: str, until: float, call: Callable[..., R], *args: Any) -> R:
        """Run `call` in a thread and return its result.

        Raises ClientOverloaded or Overloaded if the call was not made, StoreUnavailable if it is still running at the
        deadline.
        """
        self._enter(client_id)
        job = _Job(call, args, until - CALL_S_MIN)
        done = asyncio.get_running_loop().run_in_executor(self._pool, job.run)
        done.add_done_callback(lambda ended: self._leave(client_id, ended))
        await asyncio.wait((done,), timeout=until - time.monotonic())
        if done.done():
            try:
                return done.result()
            except _TooLate:
                self._shed("waited too long for a thread")
        if job.call_off():
            self._shed(f"waited {self._request_s} s for a thread")
        raise StoreUnavailable(f"{self._name}: no answer within {self._request_s} s, the outcome is unknown")

    def _enter(self, client_id: str) -> None:
        if self._taken >= self._capacity:
            self._shed(f"{self._capacity} requests in flight")
        if client_id and self._by_client[client_id] >= self._client_max:
            raise ClientOverloaded(f"{self._name}: {self._client_max} requests of {client_id} in flight")
        if not self.breaker.admits(self._taken):
            self._shed("the store does not answer well")
        self._taken += 1
        self._by_client[client_id] += 1

    def _leave(self, client_id: str, ended: asyncio.Future[Any]) -> None:
        self._taken -= 1
        self._by_client[client_id] -= 1
        if not self._by_client[client_id]:
            del self._by_client[client_id]
        if not ended.cancelled():
            ended.exception()  # Retrieved, so that asyncio does not report it as lost.

    def _shed(self, why: str) -> NoReturn:
        self._telemetry.count("Shed", 1)
        raise Overloaded(f"{self._name}: {why}")


class _TooLate(Exception):
    """The call was not made, because its deadline was too close."""


class _Job:
    """One call that either starts in a thread or is called off, never both."""

    __slots__ = ("_args", "_call", "_claim", "_start_by_s")

    def __init__(self, call: Callable[..., Any], args: tuple[Any, ...], start_by_s: float) -> None:
        self._call = call
        self._args = args
        self._start_by_s = start_by_s
        self._claim = threading.Lock()

    def call_off(self) -> bool:
        """Cancel the call; return True if it has not started and never will."""
        return self._claim.acquire(blocking=False)

    def run(self) -> Any:
        if not self._claim.acquire(blocking=False) or time.monotonic() > self._start_by_s:
            raise _TooLate
        return self._call(*self._args)
