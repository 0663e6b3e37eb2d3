"""Every bound on a client's HTTP connection: heads, bodies, pipelines, times, slow readers, floods of connections."""

from __future__ import annotations

from typing import Any

import pytest

from paperbroker.protocols import limits
from tests.fuzz.targets.stream import frame
from tests.paperbroker.connection_rig import HANDSHAKE, HEAD, UPLOAD, Server, feed, run, status


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
