"""Every bound on a client's connection: heads, bodies, pipelines, times, slow readers, floods of connections."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import urllib.request
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.server import ServerState

from paperbroker.api import make_app
from paperbroker.logs import Log
from paperbroker.protocols import limits
from paperbroker.protocols.http import HttpProtocol
from paperbroker.protocols.websocket import WebSocketProtocol
from paperbroker.services import health
from paperbroker.serving import uvicorn_config
from tests.fuzz.targets.stream import GOOD, frame
from tests.fuzz.transport import RecordingTransport
from tests.paperbroker.paperbroker_rig import RecordedTelemetry

HEAD = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
UPLOAD = b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
HANDSHAKE = "\r\n".join([f"GET {GOOD[1]} HTTP/1.1", *GOOD[4], "", ""]).encode()


class Server:
    """The bounded protocols before an application that waits for `go` and then answers with `body`."""

    def __init__(self) -> None:
        self.state = ServerState()
        self.go = asyncio.Event()
        self.go.set()
        self.body = b"{}"
        self.seen: list[str] = []
        self._config: Any = uvicorn_config(self.app, "127.0.0.1", 0)  # type: ignore[arg-type]
        self._config.load()
        self._config.loaded_app = self.app

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope["path"])
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            self.seen.append("gone")
        await self.go.wait()
        length = (b"content-length", b"%d" % len(self.body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": self.body})

    async def connect(self, first: bytes = b"") -> RecordingTransport:
        transport = RecordingTransport()
        transport.connect(HttpProtocol(config=self._config, server_state=self.state, app_state={}))
        await feed(transport, first)
        return transport

    def sweep(self, after_s: float) -> None:
        """Check all connections as if `after_s` had passed."""
        now_s = asyncio.get_running_loop().time() + after_s
        for connection in list(self.state.connections):
            assert isinstance(connection, HttpProtocol | WebSocketProtocol)
            connection.check(now_s)


async def feed(transport: RecordingTransport, data: bytes) -> None:
    transport.feed(data)
    for _ in range(8):
        await asyncio.sleep(0)


def run(scenario: Callable[[Server], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        await scenario(Server())

    asyncio.run(whole())


def status(transport: RecordingTransport) -> bytes:
    """Return the status of the last answer; empty if there is none."""
    return bytes(transport.written).rpartition(b"HTTP/1.1 ")[2][:3]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET /" + b"x" * limits.LINE_BYTES_MAX, b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * limits.HEAD_BYTES_MAX, b"431"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * limits.LINE_BYTES_MAX + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * (limits.HEADERS_MAX + 1) + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: %s\r\n" % (b"x" * 6000) * 3 + b"\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;x=%s\r\na\r\n" % (b"x" * 900) * 80, b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00", b"400"),
    ],
)
def test_request_beyond_a_bound_is_refused_at_once_and_the_connection_ends(sent: bytes, expected: bytes):
    async def scenario(server: Server) -> None:
        client = await server.connect(sent)
        assert status(client) == expected
        assert client.eof_sent
        await feed(client, b"x" * 100_000)  # What it still sends is dropped.
        assert bytes(client.written).count(b"HTTP/1.1 ") == 1
        server.sweep(limits.LINGER_S + 0.1)
        assert client.is_closing()

    run(scenario)


@pytest.mark.parametrize("refused", [b"\x00", HANDSHAKE + frame(0x83, b"")])
def test_refused_client_that_goes_on_sending_is_cut_off(refused: bytes):
    """Reading and dropping costs time, too."""

    async def scenario(server: Server) -> None:
        client = await server.connect(refused)
        await feed(client, b"x" * limits.LINGER_BYTES_MAX)
        assert client.eof_sent and not client.is_closing()
        await feed(client, b"x")
        assert client.is_closing()

    run(scenario)


@pytest.mark.parametrize("line", [b"Upgrade: websocket\r\nConnection: upgrade\r\n"])
@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"POST /orders HTTP/1.1\r\n", b"405"),
        (b"GET /markets/ACME/stream HTTP/1.0\r\n", b"400"),
        (b"GET /markets/ACME/stream HTTP/1.1\r\nContent-Length: 3\r\n", b"400"),
        (b"GET /markets/ACME/stream HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", b"400"),
        (b"GET /markets/ACME/stream HTTP/1.1\r\nX: " + b"x" * 8190 + b"\r\n", b"431"),
        (b"GET /markets/ACME/stream HTTP/1.1\r\n" + b"X: 1\r\n" * 200, b"431"),
        (b"GET /markets/ACME/stream HTTP/1.1\r\nSec-WebSocket-Key: \xff\r\n", b"400"),
    ],
)
def test_upgrade_that_cannot_be_parsed_is_answered_at_once(head: bytes, line: bytes, expected: bytes):
    """Before, no answer came, and the connection stayed."""

    async def scenario(server: Server) -> None:
        client = await server.connect(head + line + b"\r\n")
        assert status(client) == expected
        assert client.eof_sent or client.is_closing()
        assert server.seen == []

    run(scenario)


@pytest.mark.parametrize(
    ("first", "after_s"), [(b"GET / HTTP/1.1\r\nHo", limits.HEAD_S), (UPLOAD + b"12345", limits.BODY_S)]
)
def test_slow_head_and_slow_body_get_408(first: bytes, after_s: float):
    """The time counts from the first byte, so that a byte now and then does not prolong it."""

    async def scenario(server: Server) -> None:
        client = await server.connect(first)
        server.sweep(after_s - 0.5)
        assert status(client) == b""
        await feed(client, b"x")
        server.sweep(after_s + 0.1)
        await feed(client, b"")
        assert status(client) == b"408"
        assert server.seen in ([], ["/orders", "gone"])

    run(scenario)


def test_idle_connection_is_closed_even_if_it_sends_empty_lines():
    async def scenario(server: Server) -> None:
        client = await server.connect(HEAD % 1)
        await feed(client, b"\r\n\r\n")
        server.sweep(limits.KEEP_ALIVE_S - 1)
        assert not client.is_closing()
        server.sweep(limits.KEEP_ALIVE_S + 1)
        assert client.is_closing()

    run(scenario)


def test_request_that_is_being_answered_has_no_time_limit_of_the_connection():
    async def scenario(server: Server) -> None:
        server.go.clear()
        client = await server.connect(HEAD % 1)
        server.sweep(10 * limits.KEEP_ALIVE_S)
        server.go.set()
        await feed(client, b"")
        assert status(client) == b"200"

    run(scenario)


def test_reader_that_takes_nothing_of_an_answer_is_cut_off():
    async def scenario(server: Server) -> None:
        client = await server.connect(HEAD % 1)
        client.protocol.pause_writing()
        server.sweep(limits.SEND_STALL_S - 0.5)
        assert not client.is_closing()
        server.sweep(limits.SEND_STALL_S + 0.1)
        assert client.is_closing()

    run(scenario)


def test_answer_waits_while_the_reader_is_behind():
    """So the buffer holds one answer, however many requests are pipelined."""

    async def scenario(server: Server) -> None:
        server.go.clear()
        client = await server.connect((HEAD % 1) + (HEAD % 2))
        client.protocol.pause_writing()
        server.go.set()
        await feed(client, b"")
        assert client.written == b""
        client.protocol.resume_writing()
        await feed(client, b"")
        await feed(client, b"")
        assert bytes(client.written).count(b"HTTP/1.1 200") == 2

    run(scenario)


def test_too_many_pipelined_requests_end_the_connection_after_the_current_answer():
    async def scenario(server: Server) -> None:
        server.go.clear()
        client = await server.connect((HEAD % 1) * (limits.PIPELINED_MAX + 5))
        server.go.set()
        await feed(client, b"")
        assert bytes(client.written).count(b"HTTP/1.1 ") == 1
        assert status(client) == b"200"
        assert client.eof_sent or client.is_closing()

    run(scenario)


def test_bytes_after_a_request_that_are_no_request_do_not_cost_its_answer():
    async def scenario(server: Server) -> None:
        server.go.clear()
        client = await server.connect((HEAD % 1) + b"\x00\x00")
        server.go.set()
        await feed(client, b"")
        assert status(client) == b"200"
        assert b"connection: close" in client.written
        assert client.eof_sent or client.is_closing()

    run(scenario)


def test_answer_before_the_end_of_a_body_closes_the_connection():
    """Else whatever the client has announced would be read and dropped, without a bound."""

    async def scenario(server: Server) -> None:
        async def refuse(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 400, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        server._config.loaded_app = refuse
        client = await server.connect(UPLOAD.replace(b"10", b"1000000000000"))
        assert status(client) == b"400"
        assert b"connection: close" in client.written
        assert client.eof_sent

    run(scenario)


def test_offer_of_another_protocol_is_served_as_plain_http():
    """`curl --http2` sends one."""

    async def scenario(server: Server) -> None:
        client = await server.connect(b"GET /h2c HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert status(client) == b"200"
        assert b"connection: close" in client.written

    run(scenario)


def test_flood_of_connections_drops_the_one_that_has_waited_longest(monkeypatch: pytest.MonkeyPatch):
    """An unfinished request before an idle connection, and never a request that is being answered."""
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 3)

    async def scenario(server: Server) -> None:
        idle = await server.connect(HEAD % 1)
        server.go.clear()
        answered = await server.connect(HEAD % 2)
        slow = await server.connect(UPLOAD)
        await server.connect()
        assert status(slow) == b"408" and slow.is_closing()
        slow.lose()
        await server.connect()
        assert idle.is_closing() and not answered.is_closing()

    run(scenario)


def test_flood_while_all_are_being_answered_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 2)

    async def scenario(server: Server) -> None:
        server.go.clear()
        kept = [await server.connect(HEAD % n) for n in (1, 2)]
        refused = await server.connect()
        assert refused.is_closing()
        assert not any(client.is_closing() for client in kept)

    run(scenario)


def test_server_that_stops_waits_for_a_body_only_a_moment():
    async def scenario(server: Server) -> None:
        client = await server.connect(UPLOAD)
        (connection,) = server.state.connections
        connection.shutdown()
        server.sweep(limits.SHUTDOWN_BODY_S + 0.1)
        await feed(client, b"")
        assert status(client) == b"408"

    run(scenario)


def test_stream_stops_reading_while_its_own_buffer_is_full():
    """Pings whose pongs nobody reads fill the buffer of the kernel, and then the sender stands still."""

    async def scenario(server: Server) -> None:
        client = await server.connect(HANDSHAKE)
        assert status(client) == b"101"
        client.protocol.pause_writing()
        assert not client.reading
        client.protocol.resume_writing()
        assert client.reading
        client.protocol.pause_writing()
        server.sweep(limits.STREAM_STALL_S + 0.1)
        assert client.is_closing()

    run(scenario)


def test_buffer_that_is_full_at_the_upgrade_is_full_for_the_stream():
    async def scenario(server: Server) -> None:
        client = await server.connect(HEAD % 1)
        client.protocol.pause_writing()
        await feed(client, HANDSHAKE)
        assert isinstance(client.protocol, WebSocketProtocol)
        assert not client.reading and status(client) == b"200"

    run(scenario)


@pytest.mark.parametrize("opcode", [0x89, 0x8A, 0x81, 0x82])
def test_too_many_frames_a_second_close_the_stream_with_1008(opcode: int):
    async def scenario(server: Server) -> None:
        client = await server.connect(HANDSHAKE)
        await feed(client, frame(opcode, b"a") * (3 * limits.FRAMES_PER_S_MAX))
        assert b"\x03\xf0more than 50 frames a second" in client.written
        assert client.eof_sent
        server.sweep(limits.LINGER_S + 0.1)
        assert client.is_closing()

    run(scenario)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(0x82, b"x" * (limits.MESSAGE_BYTES_MAX + 1)), 1009),
        (frame(0x02, b"x" * 3000) + frame(0x80, b"x" * 3000), 1009),
        (frame(0x83, b""), 1002),
        (frame(0x89, b"", masked=False), 1002),
        (frame(0x88, b"\x03"), 1002),
    ],
)
def test_frame_against_the_protocol_closes_the_stream_with_its_code(sent: bytes, code: int):
    async def scenario(server: Server) -> None:
        client = await server.connect(HANDSHAKE)
        await feed(client, sent)
        close = bytes(client.written).partition(b"\r\n\r\n")[2]
        assert close[0] == 0x88 and int.from_bytes(close[2:4]) == code

    run(scenario)


def test_frames_right_behind_the_handshake_are_read_after_it():
    async def scenario(server: Server) -> None:
        client = await server.connect(HANDSHAKE + frame(0x89, b"early"))
        assert bytes(client.written).partition(b"\r\n\r\n")[2] == b"\x8a\x05early"

    run(scenario)


def test_health_server_bounds_its_connections_and_is_silent_about_clients_that_hang_up(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The port of the matcher and the relay. A head that trickles in is cut off, and then a probe gets its answer."""
    monkeypatch.setattr(health, "REQUEST_TIMEOUT_S", 0.3)
    server = health.HealthServer("127.0.0.1", 0, health.Readiness({}))
    address = ("127.0.0.1", int(server._server.server_address[1]))
    server.start()
    try:
        for _ in range(5):
            client = socket.create_connection(address)
            client.sendall(b"GET /healthz HTTP/1.1\r\n")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        slow = [socket.create_connection(address) for _ in range(2 * health.CONNECTIONS_MAX)]
        for client in slow:
            client.settimeout(5)
            client.sendall(b"GET /heal")
        assert [client.recv(100) for client in slow] == [b""] * len(slow)
        with urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/healthz", timeout=5) as answer:
            assert answer.status == 200
    finally:
        server.stop()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("hangs_up", [False, True])
def test_time_that_a_client_takes_to_send_is_no_latency(hangs_up: bool):
    """Else slow uploads would trip the guardrail on latency. One that hangs up has no latency at all."""
    telemetry = RecordedTelemetry()
    slow_s = 0.2

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(slow_s)
        return {"type": "http.disconnect"} if hangs_up else {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        """Answers are not looked at."""

    async def scenario() -> None:
        api: Any = SimpleNamespace(**dict.fromkeys(("submit", "order", "cancel", "book", "trades"), read_body))
        api.healthz = api.readyz = api.stream = read_body
        app = make_app(api, health.Readiness({}), telemetry, Log(logging.getLogger("test")))
        await app({"type": "http", "method": "POST", "path": "/orders", "headers": []}, receive, send)

    async def read_body(request: Request) -> Response:
        return Response(await request.body())

    asyncio.run(scenario())
    assert telemetry.counts == {"Requests": 1}
    assert [(name, value < slow_s * 500) for name, value in telemetry.values] == [("LatencyMs", True)][hangs_up:]


def test_ping_after_the_close_frame_gets_no_pong():
    """A subscriber that was refused with 4004 may have sent one before it knew."""

    async def scenario(server: Server) -> None:
        async def refuse(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4004})
            await receive()

        server._config.loaded_app = refuse
        client = await server.connect(HANDSHAKE)
        await feed(client, frame(0x89, b""))
        assert bytes(client.written).partition(b"\r\n\r\n")[2] == b"\x88\x02\x0f\xa4"

    run(scenario)
