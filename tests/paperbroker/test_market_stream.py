"""Market data stream: each event once, in order, resumable; slow subscribers are closed; one poller per market."""

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

from paperbroker.domain.events import LedgerEvent
from paperbroker.errors import StoreUnavailable
from paperbroker.logs import Log
from paperbroker.services import stream
from paperbroker.services.sequencer import Sequencer
from paperbroker.services.stream import Hub
from paperbroker.services.telemetry import Silent
from tests.paperbroker.memory_ledger import MemoryLedger
from tests.paperbroker.paperbroker_rig import IntakeRig, Stage, new_order, order_event, running
from tests.polling import wait_until_async

MARKET = "ACME"
SOON_S = 5.0


class CountedLedger(MemoryLedger):
    """Counts reads and can fail. `after_read` is called after each read, to commit between two reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.down = False
        self.after_read: Callable[[], None] = lambda: None
        self._sequencer = Sequencer(self, Silent())

    def grow(self, start: int, end: int) -> None:
        self._sequencer.apply(MARKET, [order_event(n) for n in range(start, end)])

    def read_after(self, market: str, seq: int, limit: int = 0) -> list[LedgerEvent]:
        self.reads += 1
        if self.down:
            raise StoreUnavailable("down")
        found = super().read_after(market, seq, limit)
        self.after_read()
        return found

    def seq_of(self, market: str) -> int:
        found = len(self.events[market])
        self.after_read()
        return found


class Client:
    """A subscriber that records sequences; it takes nothing while `gate` is cleared."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.code = 0
        self._received = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, text: str) -> None:
        await self.gate.wait()
        self.seqs.append(json.loads(text)["seq"])
        self._received.set()
        self._received = asyncio.Event()

    async def close(self, code: int, reason: str) -> None:
        self.code = code

    async def has(self, count: int) -> None:
        async with asyncio.timeout(SOON_S):
            while len(self.seqs) < count:
                await self._received.wait()


async def run_here(call: Any, /, *args: Any) -> Any:
    await asyncio.sleep(0)
    return call(*args)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> CountedLedger:
    """A ledger, and waits a twentieth as long as in production."""
    for name in ("POLL_S", "POLL_QUIET_S", "STALE_AFTER_S", "SEND_STALL_S", "BACKFILL_PAUSE_S"):
        monkeypatch.setattr(stream, name, getattr(stream, name) / 20)
    return CountedLedger()


def hub(ledger: CountedLedger, ring_max: int = 64) -> Hub:
    return Hub(ledger, run_here, Log(logging.getLogger("test")), ring_max)


@pytest.mark.parametrize("after", [0, 1, 150, 299, 300])
def test_subscriber_gets_every_event_after_its_cursor_once_in_order(ledger: CountedLedger, after: int):
    """The cursor is far behind the ring, inside it, or at the end, and more events come while the client listens."""

    async def run() -> list[int]:
        ledger.grow(0, 300)
        client = Client()
        serving = asyncio.create_task(hub(ledger).serve(client, MARKET, after))
        await asyncio.sleep(0.02)
        ledger.grow(300, 340)
        await client.has(340 - after)
        serving.cancel()
        return client.seqs

    assert asyncio.run(run()) == list(range(after + 1, 341))


@pytest.mark.parametrize("at_once", [1, 40, stream.PAGE_MAX + 1])
def test_events_committed_between_two_reads_are_sent_once_in_order(ledger: CountedLedger, at_once: int):
    """One event, some, or more than a page: the feed must not trust the sequence that it read before."""
    end = 3 + 10 * at_once

    def commit() -> None:
        start = len(ledger.events[MARKET])
        ledger.grow(start, min(start + at_once, end))

    async def run() -> list[int]:
        ledger.grow(0, 3)
        ledger.after_read = commit
        client = Client()
        serving = asyncio.create_task(hub(ledger, stream.RING_MAX).serve(client, MARKET, 0))
        with contextlib.suppress(TimeoutError):
            await client.has(end)
        serving.cancel()
        return client.seqs

    assert asyncio.run(run()) == list(range(1, end + 1))


@pytest.mark.parametrize("others", [0, 1])
def test_subscriber_that_reconnects_misses_nothing_and_gets_nothing_twice(ledger: CountedLedger, others: int):
    """Whether or not another subscriber kept the feed running."""

    async def run() -> list[int]:
        ledger.grow(0, 6)
        shared = hub(ledger)
        serving = [asyncio.create_task(shared.serve(Client(), MARKET, 6)) for _ in range(others)]
        await asyncio.sleep(0.02)
        ledger.grow(6, 10)
        reconnected = Client()
        serving.append(asyncio.create_task(shared.serve(reconnected, MARKET, 6)))
        await asyncio.sleep(0.05)
        ledger.grow(10, 12)
        await wait_until_async(lambda: reconnected.seqs[-1:] == [12], "event 12", SOON_S)
        for task in serving:
            task.cancel()
        return reconnected.seqs

    assert asyncio.run(run()) == [7, 8, 9, 10, 11, 12]


def test_rejections_are_part_of_the_stream(ledger: CountedLedger):
    """A gap in the sequence would look like a lost event."""

    async def run() -> list[int]:
        ledger.grow(0, 2)
        unknown = replace(order_event(2), type="CancelRequested", order_id="nobody's")
        Sequencer(ledger, Silent()).apply(MARKET, [unknown])
        ledger.grow(3, 5)
        client = Client()
        serving = asyncio.create_task(hub(ledger).serve(client, MARKET, 0))
        await wait_until_async(lambda: client.seqs[-1:] == [5], "event 5", SOON_S)
        serving.cancel()
        return client.seqs

    assert asyncio.run(run()) == [1, 2, 3, 4, 5]


def test_subscribers_share_one_poller_which_stops_with_the_last_of_them(ledger: CountedLedger):
    async def run() -> tuple[int, int]:
        ledger.grow(0, 5)
        shared = hub(ledger)
        serving = [asyncio.create_task(shared.serve(Client(), MARKET, 5)) for _ in range(50)]
        await asyncio.sleep(0.3)
        shared_reads = ledger.reads
        for task in serving:
            task.cancel()
        # The poller may read once more in the iteration of the loop in which the last subscriber leaves.
        await asyncio.gather(*serving, return_exceptions=True)
        before = ledger.reads
        await asyncio.sleep(0.1)
        return shared_reads, ledger.reads - before

    shared_reads, idle_reads = asyncio.run(run())
    assert shared_reads <= 50 + 40  # At most one read per subscriber when it joins, then the poller alone.
    assert idle_reads == 0


def test_subscriber_that_falls_out_of_the_ring_is_closed_as_too_slow(ledger: CountedLedger):
    async def run() -> tuple[int, list[int]]:
        ledger.grow(0, 3)
        slow, quick = Client(), Client()
        both = hub(ledger, ring_max=16)
        serving = [asyncio.create_task(both.serve(client, MARKET, 0)) for client in (slow, quick)]
        await slow.has(3)
        await asyncio.sleep(10 * stream.POLL_QUIET_S)  # By now both read from the ring.
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


def test_subscriber_that_receives_nothing_is_closed_as_too_slow(ledger: CountedLedger):
    async def run() -> int:
        ledger.grow(0, 3)
        stalled = Client()
        stalled.gate.clear()
        async with asyncio.timeout(SOON_S):
            await hub(ledger).serve(stalled, MARKET, 0)
        return stalled.code

    assert asyncio.run(run()) == stream.TOO_SLOW


def test_subscriber_that_does_not_even_take_the_close_is_given_up(
    ledger: CountedLedger, monkeypatch: pytest.MonkeyPatch
):
    """Its connection is gone or stalled, and the server must not keep a task for it."""
    monkeypatch.setattr(stream, "CLOSE_S", 0.05)

    class Gone(Client):
        async def close(self, code: int, reason: str) -> None:
            await asyncio.Event().wait()

    async def run() -> int:
        ledger.grow(0, 3)
        gone, tested = Gone(), hub(ledger)
        gone.gate.clear()
        async with asyncio.timeout(SOON_S):
            await tested.serve(gone, MARKET, 0)
        return tested.subscribers

    assert asyncio.run(run()) == 0


def test_feed_that_cannot_read_the_ledger_closes_its_subscribers(ledger: CountedLedger):
    """After a short outage the stream continues without a gap; a long one closes it with 1013."""

    async def run() -> tuple[list[int], int]:
        ledger.grow(0, 3)
        client = Client()
        serving = asyncio.create_task(hub(ledger).serve(client, MARKET, 0))
        await client.has(3)
        ledger.down = True
        await asyncio.sleep(stream.STALE_AFTER_S / 3)
        ledger.down = False
        ledger.grow(3, 6)
        await client.has(6)
        ledger.down = True
        async with asyncio.timeout(SOON_S):
            await serving
        return client.seqs, client.code

    assert asyncio.run(run()) == ([1, 2, 3, 4, 5, 6], stream.TRY_ELSEWHERE)


def test_websocket_stream_resumes_refuses_an_unknown_market_and_closes_on_shutdown(stage: Stage, tmp_path: Path):
    """Messages are the ledger's records as JSON text. An unknown market is closed with 4004, a shutdown with 1012."""
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

        got, unknown, shutdown = asyncio.run(run())
        assert api.popen.wait(5) == 0
    assert got == stage.ledger("ACME")[2:]
    assert (unknown, shutdown) == (stream.UNKNOWN_MARKET, stream.DRAINING)


async def close_code(url: str) -> int:
    async with connect(url) as socket:
        await asyncio.wait_for(socket.wait_closed(), SOON_S)
        return socket.close_code or 0
