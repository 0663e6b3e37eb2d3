"""Market data: each event once, in order, resumable; slow subscribers told; one poller however many listen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from paperbroker.domain.events import IntakeEvent, LedgerEvent
from paperbroker.errors import StoreUnavailable
from paperbroker.logs import Log
from paperbroker.services import stream
from paperbroker.services.sequencer import Sequencer
from paperbroker.services.stream import Hub
from paperbroker.services.telemetry import Silent
from tests.paperbroker.memory_ledger import MemoryLedger
from tests.paperbroker.paperbroker_rig import IntakeRig, Stage, new_order, running
from tests.polling import wait_until_async

MARKET = "ACME"
SOON_S = 5.0


def event(n: int) -> IntakeEvent:
    return IntakeEvent(
        event_id=f"e{n}",
        type="OrderAccepted",
        market=MARKET,
        order_id=f"o{n}",
        client_id="a",
        idempotency_key=f"k{n}",
        side="BUY",
        order_type="LIMIT",
        tif="GTC",
        qty=1,
        price=100,
        accepted_at_ns=0,
    )


class CountedLedger(MemoryLedger):
    """Counts reads; can be made to fail; `meanwhile` happens right after each look at the market."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.down = False
        self.meanwhile: Callable[[], None] = lambda: None
        self._sequencer = Sequencer(self, Silent())

    def grow(self, start: int, end: int) -> None:
        self._sequencer.apply(MARKET, [event(n) for n in range(start, end)])

    def read_after(self, market: str, seq: int, limit: int = 0) -> list[LedgerEvent]:
        self.reads += 1
        if self.down:
            raise StoreUnavailable("down")
        found = super().read_after(market, seq, limit)
        self.meanwhile()
        return found

    def seq_of(self, market: str) -> int:
        found = len(self.events[market])
        self.meanwhile()
        return found


class Taker:
    """A subscriber that takes what it gets, as fast as `gate` lets it."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.code = 0
        self._took = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, text: str) -> None:
        await self.gate.wait()
        self.seqs.append(json.loads(text)["seq"])
        self._took.set()
        self._took = asyncio.Event()

    async def close(self, code: int, reason: str) -> None:
        self.code = code

    async def has(self, count: int) -> None:
        async with asyncio.timeout(SOON_S):
            while len(self.seqs) < count:
                await self._took.wait()


async def run_here(call: Any, /, *args: Any) -> Any:
    await asyncio.sleep(0)
    return call(*args)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> CountedLedger:
    """With waits a twentieth as long."""
    for name in ("POLL_S", "POLL_QUIET_S", "STALE_AFTER_S", "SEND_STALL_S", "BACKFILL_PAUSE_S"):
        monkeypatch.setattr(stream, name, getattr(stream, name) / 20)
    return CountedLedger()


def hub(ledger: CountedLedger, ring_max: int = 64) -> Hub:
    return Hub(ledger, run_here, Log(logging.getLogger("test")), ring_max)


@pytest.mark.parametrize("after", [0, 1, 150, 299, 300])
def test_subscriber_gets_everything_after_its_place_once_in_order(ledger: CountedLedger, after: int):
    """Far behind the ring, inside it, at the end, and across the events that come while it listens."""

    async def run() -> list[int]:
        ledger.grow(0, 300)
        taker = Taker()
        serving = asyncio.create_task(hub(ledger).serve(taker, MARKET, after))
        await asyncio.sleep(0.02)
        ledger.grow(300, 340)
        await taker.has(340 - after)
        serving.cancel()
        return taker.seqs

    assert asyncio.run(run()) == list(range(after + 1, 341))


@pytest.mark.parametrize("at_once", [1, 40, stream.PAGE_MAX + 1])
def test_what_is_committed_between_two_looks_comes_once_in_order(ledger: CountedLedger, at_once: int):
    """One event, some, more than a page: what a feed was told of the market is old when it asks again."""
    end = 3 + 10 * at_once

    def commit() -> None:
        start = len(ledger.events[MARKET])
        ledger.grow(start, min(start + at_once, end))

    async def run() -> list[int]:
        ledger.grow(0, 3)
        ledger.meanwhile = commit
        taker = Taker()
        serving = asyncio.create_task(hub(ledger, stream.RING_MAX).serve(taker, MARKET, 0))
        with contextlib.suppress(TimeoutError):
            await taker.has(end)
        serving.cancel()
        return taker.seqs

    assert asyncio.run(run()) == list(range(1, end + 1))


@pytest.mark.parametrize("others", [0, 1])
def test_subscriber_that_comes_back_goes_on_exactly_where_it_was(ledger: CountedLedger, others: int):
    """Whether somebody else listened meanwhile or not: nothing of what it missed is missing, nothing comes twice."""

    async def run() -> list[int]:
        ledger.grow(0, 6)
        crowd = hub(ledger)
        serving = [asyncio.create_task(crowd.serve(Taker(), MARKET, 6)) for _ in range(others)]
        await asyncio.sleep(0.02)
        ledger.grow(6, 10)
        back = Taker()
        serving.append(asyncio.create_task(crowd.serve(back, MARKET, 6)))
        await asyncio.sleep(0.05)
        ledger.grow(10, 12)
        await wait_until_async(lambda: back.seqs[-1:] == [12], "event 12", SOON_S)
        for task in serving:
            task.cancel()
        return back.seqs

    assert asyncio.run(run()) == [7, 8, 9, 10, 11, 12]


def test_refused_commands_are_part_of_the_stream(ledger: CountedLedger):
    """A hole in the sequence would look like a loss."""

    async def run() -> list[int]:
        ledger.grow(0, 2)
        unknown = replace(event(2), type="CancelRequested", order_id="nobody's")
        Sequencer(ledger, Silent()).apply(MARKET, [unknown])
        ledger.grow(3, 5)
        taker = Taker()
        serving = asyncio.create_task(hub(ledger).serve(taker, MARKET, 0))
        await wait_until_async(lambda: taker.seqs[-1:] == [5], "event 5", SOON_S)
        serving.cancel()
        return taker.seqs

    assert asyncio.run(run()) == [1, 2, 3, 4, 5]


def test_many_subscribers_share_one_poller_and_none_polls_for_nobody(ledger: CountedLedger):
    async def run() -> tuple[int, int]:
        ledger.grow(0, 5)
        crowd = hub(ledger)
        serving = [asyncio.create_task(crowd.serve(Taker(), MARKET, 5)) for _ in range(50)]
        await asyncio.sleep(0.3)
        with_crowd = ledger.reads
        for task in serving:
            task.cancel()
        # The poller may look once more in the turn of the loop in which the last of them leaves.
        await asyncio.gather(*serving, return_exceptions=True)
        deserted = ledger.reads
        await asyncio.sleep(0.1)
        return with_crowd, ledger.reads - deserted

    with_crowd, for_nobody = asyncio.run(run())
    assert with_crowd <= 50 + 40  # at most one look each when they join, then the poller alone
    assert for_nobody == 0


def test_subscriber_that_falls_out_of_the_ring_is_closed_as_too_slow(ledger: CountedLedger):
    async def run() -> tuple[int, list[int]]:
        ledger.grow(0, 3)
        slow, quick = Taker(), Taker()
        both = hub(ledger, ring_max=16)
        serving = [asyncio.create_task(both.serve(taker, MARKET, 0)) for taker in (slow, quick)]
        await slow.has(3)
        await asyncio.sleep(10 * stream.POLL_QUIET_S)  # both have met the ring by now
        slow.gate.clear()
        for start in range(3, 43, 5):
            ledger.grow(start, start + 5)
            await quick.has(start + 5)
        slow.gate.set()
        async with asyncio.timeout(SOON_S):
            await serving[0]
        serving[1].cancel()
        return slow.code, quick.seqs

    code, seqs = asyncio.run(run())
    assert code == stream.TOO_SLOW
    assert seqs == list(range(1, 44))


def test_subscriber_that_takes_nothing_is_closed_as_too_slow(ledger: CountedLedger):
    async def run() -> int:
        ledger.grow(0, 3)
        stalled = Taker()
        stalled.gate.clear()
        async with asyncio.timeout(SOON_S):
            await hub(ledger).serve(stalled, MARKET, 0)
        return stalled.code

    assert asyncio.run(run()) == stream.TOO_SLOW


def test_feed_without_a_ledger_sends_its_subscribers_elsewhere(ledger: CountedLedger):
    """A short outage is ridden out without a gap; a long one closes with 1013."""

    async def run() -> tuple[list[int], int]:
        ledger.grow(0, 3)
        taker = Taker()
        serving = asyncio.create_task(hub(ledger).serve(taker, MARKET, 0))
        await taker.has(3)
        ledger.down = True
        await asyncio.sleep(stream.STALE_AFTER_S / 3)
        ledger.down = False
        ledger.grow(3, 6)
        await taker.has(6)
        ledger.down = True
        async with asyncio.timeout(SOON_S):
            await serving
        return taker.seqs, taker.code

    assert asyncio.run(run()) == ([1, 2, 3, 4, 5, 6], stream.TRY_ELSEWHERE)


def test_stream_over_websocket_resumes_refuses_and_says_goodbye(stage: Stage, tmp_path: Path):
    """The wire: the ledger's records as JSON text, 4004 for an unknown market, 1012 when the task leaves."""
    with IntakeRig(stage) as rig:
        for n in range(1, 8):
            rig.intake.submit(new_order(n), "trace")
    stage.match_all()
    with running("api", stage.env, tmp_path) as api:

        async def run() -> tuple[list[dict[str, Any]], int, int]:
            base = f"ws://127.0.0.1:{api.port}/markets"
            async with connect(f"{base}/ACME/stream?after=2") as one:
                got = [json.loads(await asyncio.wait_for(one.recv(), SOON_S)) for _ in range(5)]
                unknown = await close_code(f"{base}/NONE/stream")
                threading.Timer(0.1, api.popen.terminate).start()
                with contextlib.suppress(ConnectionClosed):
                    await asyncio.wait_for(one.recv(), SOON_S)
                return got, unknown, one.close_code or 0

        got, unknown, goodbye = asyncio.run(run())
        assert api.popen.wait(5) == 0
    assert got == stage.ledger("ACME")[2:]
    assert (unknown, goodbye) == (stream.UNKNOWN_MARKET, stream.DRAINING)


async def close_code(url: str) -> int:
    async with connect(url) as socket:
        await asyncio.wait_for(socket.wait_closed(), SOON_S)
        return socket.close_code or 0
