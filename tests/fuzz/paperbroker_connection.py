"""PaperBroker's API in this process, behind a connection without a socket and before a store in memory.

Parsers, protocols, routes and the stream are the real ones.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from uvicorn.server import ServerState

from paperbroker.api import Api, make_app
from paperbroker.domain.orders import CancelOrder, NewOrder
from paperbroker.logs import Log
from paperbroker.services.health import Readiness
from paperbroker.services.intake import Receipt
from paperbroker.services.sequencer import Sequencer
from paperbroker.services.stream import Hub
from paperbroker.services.telemetry import Silent
from paperbroker.serving import uvicorn_config
from tests.fuzz.transport import RecordingTransport, event_loop
from tests.paperbroker.memory_ledger import MemoryLedger
from tests.paperbroker.paperbroker_rig import RecordedTelemetry, order_event

MARKETS = ("ACME", "BOLT")
IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
LATENCY_MS_MAX = 1000.0
TURNS_MAX = 200  # Turns of the event loop until a connection must be quiet.


class DirectBulkhead:
    """Makes the call at once."""

    def deadline(self) -> float:
        return float("inf")

    async def run(self, client_id: str, until: float, call: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(0)
        return call(*args)


class ContractStore:
    """Intake and queries that accept what PaperBroker's contract allows, and fail on anything else that gets here."""

    def __init__(self) -> None:
        self.orders = 0
        self.cancels = 0

    def submit(self, order: NewOrder, trace_id: str, until: float) -> Receipt:
        for value in (order.client_id, order.idempotency_key, order.order_id, trace_id):
            assert IDENTIFIER.fullmatch(value), f"accepted identifier {value!r}"
        assert order.symbol in MARKETS
        assert type(order.qty) is int and 1 <= order.qty <= 10**9
        assert type(order.price) is int and (0 if order.type == "MARKET" else 1) <= order.price <= 10**12
        self.orders += 1
        return Receipt(first=True, answer="{}")

    def cancel(self, cancel: CancelOrder, trace_id: str, until: float) -> Receipt:
        for value in (cancel.client_id, cancel.idempotency_key, cancel.order_id, trace_id):
            assert IDENTIFIER.fullmatch(value), f"accepted identifier {value!r}"
        self.cancels += 1
        return Receipt(first=True, answer="{}")

    def order(self, order_id: str, client_id: str) -> dict[str, Any]:
        assert IDENTIFIER.fullmatch(order_id) and IDENTIFIER.fullmatch(client_id), f"{order_id!r}, {client_id!r}"
        return {}

    def book(self, market: str, depth: int) -> dict[str, Any]:
        assert market in MARKETS and 1 <= depth <= 100
        return {}

    def trades(self, market: str, after: int, limit: int) -> dict[str, Any]:
        assert market in MARKETS and 0 <= after <= 2**53 and 1 <= limit <= 500
        return {}


class StreamedLedger(MemoryLedger):
    """A ledger that a stream can follow."""

    def seq_of(self, market: str) -> int:
        return len(self.events[market])


def _three_orders() -> StreamedLedger:
    ledger = StreamedLedger()
    Sequencer(ledger, Silent()).apply("ACME", [order_event(n) for n in range(3)])
    return ledger


class RecordingHandler(logging.Handler):
    """Keeps the log records from WARNING on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.lines.append(f"{text} {record.exc_info[1]!r}" if record.exc_info else text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What the server wrote, and whether it ended the connection."""

    written: bytes
    ended: bool


class Broker:
    """One API process. `converse` gives it the bytes of one connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, told: list[str]) -> None:
        self._loop = loop
        self._told = told
        self.store = ContractStore()
        self.telemetry = RecordedTelemetry()
        self.logged = RecordingHandler()
        log = Log(logging.getLogger("paperbroker"))
        store, bulkhead = cast(Any, self.store), cast(Any, DirectBulkhead())
        readiness = Readiness({})
        api = Api(
            markets=MARKETS,
            intake=store,
            queries=store,
            hub=Hub(_three_orders(), _run_here, log),
            readiness=readiness,
            telemetry=self.telemetry,
            writes=bulkhead,
            reads=bulkhead,
        )
        self._config: Any = uvicorn_config(make_app(api, readiness, self.telemetry, log), "127.0.0.1", 0)
        self._config.load()

    def converse(self, pieces: Sequence[bytes], *, hang_up: bool) -> Conversation:
        """Send the pieces one after the other, and hang up at the end if asked. Asserts that nobody was disturbed."""
        conversation = self._loop.run_until_complete(self._converse(pieces, hang_up=hang_up))
        self.assert_undisturbed()
        return conversation

    def connect(self, transport: RecordingTransport, state: ServerState) -> None:
        """Accept a connection."""
        make = self._config.http_protocol_class
        transport.connect(make(config=self._config, server_state=state, app_state={}, _loop=self._loop))

    def assert_undisturbed(self) -> None:
        """Assert that nothing was logged, counted as a server error or measured as slow since the last call."""
        disturbed = [*self.logged.lines, *self._told]
        counted, values = self.telemetry.counts["Http5xx"], [*self.telemetry.values]
        self.logged.lines.clear()
        self._told.clear()
        self.telemetry.counts.clear()
        self.telemetry.values.clear()
        assert disturbed == [], f"logged {disturbed}"
        assert counted == 0, "counted a 5xx"
        assert all(value < LATENCY_MS_MAX for _, value in values), "the client's time is a latency"

    async def _converse(self, pieces: Sequence[bytes], *, hang_up: bool) -> Conversation:
        state = ServerState()
        transport = RecordingTransport()
        self.connect(transport, state)
        for piece in pieces:
            transport.feed(piece)
            await self._turn(3)
        if hang_up:
            transport.hang_up()
        else:
            await self._until_quiet(transport, state)
        ended = transport.is_closing() or transport.eof_sent
        transport.lose()
        await self._until_quiet(transport, state)
        assert not state.tasks, "a request is still being answered"
        assert not state.connections, "a connection is still counted"
        return Conversation(written=bytes(transport.written), ended=ended)

    async def _until_quiet(self, transport: RecordingTransport, state: ServerState) -> None:
        """Wait until nothing runs, or a fixed number of turns: a stream runs as long as its connection."""
        for _ in range(TURNS_MAX if transport.lost else 20):
            if not state.tasks:
                break
            await self._turn(1)

    @staticmethod
    async def _turn(times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(0)


async def _run_here(call: Any, /, *args: Any) -> Any:
    await asyncio.sleep(0)
    return call(*args)


@contextmanager
def broker() -> Iterator[Broker]:
    """Run an API on an event loop of its own."""
    with event_loop() as (loop, told), broker_on(loop, told) as made:
        yield made


@contextmanager
def broker_on(loop: asyncio.AbstractEventLoop, told: list[str]) -> Iterator[Broker]:
    """Run an API; root's log handlers are replaced meanwhile."""
    root = logging.getLogger()
    before = root.handlers[:]
    made = Broker(loop, told)
    root.handlers[:] = [made.logged]
    try:
        yield made
    finally:
        root.handlers[:] = before


def parse_answers(written: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Split what the server wrote into (status, body) of each answer, and the bytes after a 101."""
    answers = []
    rest = written
    while rest:
        head, blank, rest = rest.partition(b"\r\n\r\n")
        assert blank, f"the answer's head {head!r} has no end"
        lines = head.split(b"\r\n")
        found = re.fullmatch(rb"HTTP/1\.1 ([1-5]\d\d) .*", lines[0])
        assert found, f"status line {lines[0]!r}"
        status = int(found[1])
        fields = dict(line.lower().split(b": ", 1) for line in lines[1:])
        if status == 101:
            return [*answers, (status, b"")], rest
        if status == 100:
            continue
        # An answer to HEAD has no body.
        size = int(fields[b"content-length"]) if rest and not rest.startswith(b"HTTP/1.1 ") else 0
        assert len(rest) >= size, f"{status}: the body is cut off"
        answers.append((status, rest[:size]))
        rest = rest[size:]
    return answers, b""
