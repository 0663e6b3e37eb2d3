"""Run a small exchange over real sockets, which misbehaves on request, and run the engine against it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import uvloop

from kit.load import LoadPlan, follow_ups, resubmissions
from kit.load.engine import Engine
from kit.load.http_attempt import Attempt

RESET, EOF, HANG = b"reset", b"eof", b"hang"  # a behaviour may return these instead of an answer
HANG_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    number: int  # of this exchange, from 1
    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at_s: float
    connection: int

    @property
    def identity(self) -> tuple[str, str]:
        """Client and key, which a retry repeats. Another client may use the same key text."""
        return self.body["clientId"], self.body["idempotencyKey"]


def _parsed(raw: bytes) -> dict[str, Any]:
    """The fields of a body; names that a malformed one lacks are empty."""
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        body = {}
    return {"clientId": "", "idempotencyKey": "", "orderId": ""} | (body if isinstance(body, dict) else {})


def answer(status: int, body: dict[str, Any] | None = None, headers: str = "") -> bytes:
    content = json.dumps(body or {}).encode()
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(content)}\r\n\r\n".encode() + content


@dataclass(slots=True)
class Exchange:
    """Answers like PaperBroker, unless `behave`, which gets the request and that answer, returns another one."""

    behave: Callable[[Request, bytes], Awaitable[bytes]] | None = None
    requests: list[Request] = field(default_factory=list)
    keys: dict[tuple[str, str], tuple[Any, bytes]] = field(default_factory=dict)
    port: int = 0
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        try:
            while True:
                request = await self._read(reader, connection)
                reply = self._apply(request)
                if self.behave is not None:
                    reply = await self.behave(request, reply)
                if reply in (RESET, EOF, HANG):
                    await self._misbehave(reply, writer)
                    return
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _misbehave(self, how: bytes, writer: asyncio.StreamWriter) -> None:
        if how == HANG:
            await asyncio.sleep(HANG_S)
        elif how == RESET:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = first.split(" ")
        request = Request(
            number=len(self.requests) + 1,
            method=method,
            path=path,
            headers=headers,
            body=_parsed(raw),
            at_s=asyncio.get_running_loop().time(),
            connection=connection,
        )
        self.requests.append(request)
        return request

    def _apply(self, request: Request) -> bytes:
        if request.method == "GET":
            return answer(200, {"path": request.path})
        body = request.body
        key = request.identity
        cancelled = request.path if request.path.endswith("/cancel") else ""
        defaults = {"tif": "GTC", "price": 0} if body.get("type") == "LIMIT" else {"tif": "IOC", "price": 0}
        content = defaults | {k: v for k, v in body.items() if k != "orderId"} | {"cancel": cancelled}
        if key not in self.keys:
            self.keys[key] = (content, json.dumps(body | {"status": "ACCEPTED"}).encode())
            return self._accepted(201, key)
        if self.keys[key][0] != content:
            return answer(409, {"error": "IdempotencyKeyReused"})
        return self._accepted(200, key)

    def _accepted(self, status: int, key: tuple[str, str]) -> bytes:
        content = self.keys[key][1]
        return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(content), content)


def plan_of(url: str, **changes: Any) -> LoadPlan:
    """One market without subscribers; by default only first attempts of orders."""
    orders_only = LoadPlan(
        api_url=url,
        markets=("ACME",),
        rate_per_s=100.0,
        duration_max_s=0.5,
        subscribers_per_market=0,
        timeout_ms=300,
        resubmit_early_ratio=0,
        cancel_ratio=0,
        book_ratio=0,
        trades_ratio=0,
        resubmit_ratio=0,
        read_back_ratio=0,
        unauthorized_ratio=0,
        taken_order_id_ratio=0,
        malformed_ratio=0,
        malformed_request_ratio=0,
        contested_ratio=0,
        asked_first_ratio=0,
        late_ratio=0,
    )
    return replace(orders_only, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The result of one run: attempts in the order of their rows, the engine, and the exchange."""

    attempts: list[Attempt]
    engine: Engine
    exchange: Exchange

    def of_kind(self, kind: str) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.kind == kind]


@pytest.fixture
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resubmissions and reads follow within a fraction of a second instead of seconds."""
    monkeypatch.setattr(resubmissions, "RESUBMIT_S_MAX", 0.2)
    monkeypatch.setattr(follow_ups, "READ_BACK_S_MAX", 0.1)


def within(main: Coroutine[Any, Any, Any]) -> Any:
    """Run on the kind of event loop that the generator uses."""
    return uvloop.run(main)


def run_engine(behave: Callable[[Request, bytes], Awaitable[bytes]] | None = None, **changes: Any) -> Ran:
    """Run a plan to its end against an exchange on the same loop."""

    async def main() -> Ran:
        exchange = Exchange(behave)
        server = await exchange.start()
        rows: list[Attempt] = []
        engine = Engine(plan_of(exchange.url, **changes), asyncio.get_running_loop(), record=rows.append)
        async with asyncio.timeout(20):
            await engine.run()
        server.close()
        return Ran(attempts=rows, engine=engine, exchange=exchange)

    return within(main())


@pytest.fixture
def exchange_thread() -> Iterator[Exchange]:
    """An exchange that behaves well, in its own thread, for generators in their own processes."""
    exchange, ready, loops = Exchange(), threading.Event(), []

    async def main() -> None:
        ended = asyncio.Event()
        server = await exchange.start()
        loops.append((asyncio.get_running_loop(), ended))
        ready.set()
        await ended.wait()
        # `asyncio.run` then cancels what still serves a connection.
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(5)
    yield exchange
    loop, ended = loops[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(5)
    assert not thread.is_alive()
