"""The bulkhead before the store: who is let in, who is refused at once, and who is told what at the deadline."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from paperbroker.errors import ClientOverloaded, Overloaded, StoreUnavailable
from paperbroker.services.breaker import CALLS_MIN, Breaker
from paperbroker.services.bulkhead import Bulkhead

REQUEST_S = 0.6  # a little over CALL_S_MIN


class Counts:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, name: str, n: int) -> None:
        self.counts[name] += n

    def observe(self, name: str, value: float) -> None:
        """Nothing is observed here."""


def bulkhead(counts: Counts, **changed: Any) -> Bulkhead:
    shape: dict[str, Any] = {"threads": 2, "waiting_max": 1, "client_max": 2, "request_s": REQUEST_S}
    return Bulkhead("test", breaker=Breaker(2), telemetry=counts, **(shape | changed))


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    asyncio.run(main())


def test_beyond_its_places_it_refuses_at_once_and_a_place_is_free_when_the_call_has_ended():
    """Two threads and one waiting place: the fourth is shed without waiting, and so is the fifth, until one ends."""
    counts, gate = Counts(), threading.Event()

    async def main() -> None:
        tested = bulkhead(counts)
        held = [asyncio.create_task(tested.run(f"c{n}", tested.deadline(), gate.wait)) for n in range(3)]
        await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(Overloaded):
                await tested.run("c9", tested.deadline(), int)
        gate.set()
        assert await asyncio.gather(*held) == [True] * 3
        assert await tested.run("c9", tested.deadline(), int) == 0

    run(main)
    assert counts.counts["Shed"] == 2


def test_one_client_may_not_take_every_place():
    counts, gate = Counts(), threading.Event()

    async def main() -> None:
        tested = bulkhead(counts)
        held = [asyncio.create_task(tested.run("greedy", tested.deadline(), gate.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ClientOverloaded):
            await tested.run("greedy", tested.deadline(), int)
        other = asyncio.create_task(tested.run("other", tested.deadline(), gate.wait))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*held, other)

    run(main)
    assert counts.counts["Shed"] == 0


def test_at_the_deadline_a_call_under_way_is_unknown_and_one_that_waits_was_not_made():
    """The first two hang; the third never gets a thread, and never runs, not even when one is free again."""
    counts, gate, made = Counts(), threading.Event(), list[str]()

    async def main() -> None:
        tested = bulkhead(counts)
        until = tested.deadline()
        calls = [tested.run(f"c{n}", until, gate.wait) for n in range(2)]
        outcomes = asyncio.gather(*calls, tested.run("c2", until, made.append, "late"), return_exceptions=True)
        first, second, third = await outcomes
        assert (type(first), type(second), type(third)) == (StoreUnavailable, StoreUnavailable, Overloaded)
        with pytest.raises(Overloaded):  # the hanging calls still have their places
            await asyncio.gather(*(tested.run(f"d{n}", tested.deadline(), int) for n in range(2)))
        gate.set()

    run(main)
    assert made == []
    assert counts.counts["Shed"] >= 2


def test_a_call_whose_time_is_nearly_over_is_not_made():
    """It got its thread too late for an answer: shed, without any effect."""
    counts, made = Counts(), list[str]()

    async def main() -> None:
        tested = bulkhead(counts, threads=1, waiting_max=2)
        until = tested.deadline()
        slow = tested.run("c1", until, time.sleep, REQUEST_S / 2)
        with pytest.raises(Overloaded):
            await asyncio.gather(slow, tested.run("c2", until, made.append, "late"))

    run(main)
    assert made == [] and counts.counts["Shed"] == 1


def test_open_breaker_sheds():
    counts = Counts()

    async def main() -> None:
        tested = bulkhead(counts)
        for _ in range(CALLS_MIN):
            tested.breaker.record_call(started_s=time.monotonic(), took_s=9.0, failed=True)
        with pytest.raises(Overloaded):
            await tested.run("c1", tested.deadline(), int)

    run(main)
    assert counts.counts["Shed"] == 1


def test_errors_of_the_call_pass_through():
    async def main() -> None:
        tested = bulkhead(Counts())
        with pytest.raises(ZeroDivisionError):
            await tested.run("c1", tested.deadline(), divmod, 1, 0)

    run(main)
