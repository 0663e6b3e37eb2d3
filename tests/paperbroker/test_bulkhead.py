"""The bulkhead in front of the store: admission, immediate refusal, and the outcome at the deadline."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from paperbroker.errors import ClientOverloaded, Overloaded, StoreUnavailable
from paperbroker.services.breaker import CALLS_MIN, Breaker
from paperbroker.services.bulkhead import Bulkhead
from paperbroker.services.retry_budget import CALL_S_MIN
from tests.paperbroker.paperbroker_rig import RecordedTelemetry
from tests.polling import wait_until_async

REQUEST_S = 0.6  # a little over CALL_S_MIN


def bulkhead(telemetry: RecordedTelemetry, **changed: Any) -> Bulkhead:
    shape: dict[str, Any] = {"threads": 2, "waiting_max": 1, "client_max": 2, "request_s": REQUEST_S}
    return Bulkhead("test", breaker=Breaker(2), telemetry=telemetry, **(shape | changed))


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    asyncio.run(main())


def test_a_request_without_a_free_slot_is_shed_at_once_and_a_slot_is_free_when_its_call_ends():
    """Two threads and one waiting slot: the fourth and the fifth request are shed while the first three run."""
    telemetry, gate = RecordedTelemetry(), threading.Event()

    async def main() -> None:
        tested = bulkhead(telemetry)
        held = [asyncio.create_task(tested.run(f"c{n}", tested.deadline(), gate.wait)) for n in range(3)]
        await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(Overloaded):
                await tested.run("c9", tested.deadline(), int)
        gate.set()
        assert await asyncio.gather(*held) == [True] * 3
        assert await tested.run("c9", tested.deadline(), int) == 0

    run(main)
    assert telemetry.counts["Shed"] == 2


def test_one_client_cannot_take_all_slots():
    telemetry, gate = RecordedTelemetry(), threading.Event()

    async def main() -> None:
        tested = bulkhead(telemetry)
        held = [asyncio.create_task(tested.run("greedy", tested.deadline(), gate.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ClientOverloaded):
            await tested.run("greedy", tested.deadline(), int)
        other = asyncio.create_task(tested.run("other", tested.deadline(), gate.wait))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*held, other)

    run(main)
    assert telemetry.counts["Shed"] == 0


def test_at_the_deadline_a_running_call_has_an_unknown_outcome_and_a_waiting_one_is_never_made():
    """The first two hang. The third gets no thread, and does not run when one is free again."""
    telemetry, gate, made = RecordedTelemetry(), threading.Event(), list[str]()

    async def main() -> None:
        tested = bulkhead(telemetry)
        until = tested.deadline()
        calls = [tested.run(f"c{n}", until, gate.wait) for n in range(2)]
        outcomes = asyncio.gather(*calls, tested.run("c2", until, made.append, "late"), return_exceptions=True)
        first, second, third = await outcomes
        assert (type(first), type(second), type(third)) == (StoreUnavailable, StoreUnavailable, Overloaded)
        with pytest.raises(Overloaded):  # The hanging calls still hold their slots.
            await asyncio.gather(*(tested.run(f"d{n}", tested.deadline(), int) for n in range(2)))
        gate.set()

    run(main)
    assert made == []
    assert telemetry.counts["Shed"] >= 2


def test_a_call_too_close_to_its_deadline_is_not_made():
    """It gets a thread too late for an answer, so it is shed and has no effect."""
    telemetry, made = RecordedTelemetry(), list[str]()

    async def main() -> None:
        tested = bulkhead(telemetry, threads=1, waiting_max=2)
        until = tested.deadline()
        slow = tested.run("c1", until, time.sleep, REQUEST_S / 2)
        with pytest.raises(Overloaded):
            await asyncio.gather(slow, tested.run("c2", until, made.append, "late"))

    run(main)
    assert made == [] and telemetry.counts["Shed"] == 1


def test_open_breaker_sheds():
    telemetry = RecordedTelemetry()

    async def main() -> None:
        tested = bulkhead(telemetry)
        for _ in range(CALLS_MIN):
            tested.breaker.record_call(started_s=time.monotonic(), took_s=9.0, failed=True)
        with pytest.raises(Overloaded):
            await tested.run("c1", tested.deadline(), int)

    run(main)
    assert telemetry.counts["Shed"] == 1


def test_an_error_of_the_call_reaches_the_caller():
    async def main() -> None:
        tested = bulkhead(RecordedTelemetry())
        with pytest.raises(ZeroDivisionError):
            await tested.run("c1", tested.deadline(), divmod, 1, 0)

    run(main)


def test_a_client_may_go_on_as_long_as_its_requests_end():
    """Its share counts requests in flight, not requests."""

    async def main() -> None:
        tested = bulkhead(RecordedTelemetry())
        for n in range(10):
            assert await tested.run("busy", tested.deadline(), int, n) == n

    run(main)


def test_an_error_after_the_deadline_is_not_reported_as_lost():
    """Nobody waits for it any more, so asyncio would log it when the future is collected."""
    telemetry, gate, lost = RecordedTelemetry(), threading.Event(), list[Any]()

    def fail_late() -> None:
        gate.wait()
        raise ZeroDivisionError

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: lost.append(context))
        tested = bulkhead(telemetry)
        with pytest.raises(StoreUnavailable):
            await tested.run("c1", time.monotonic() + 0.05 + CALL_S_MIN, fail_late)
        gate.set()
        await wait_until_async(lambda: not tested._taken, "the call has ended")
        gc.collect()

    run(main)
    assert lost == []
