"""Every bound on a subscriber's WebSocket connection: frames, their rate and size, buffers and times."""

from __future__ import annotations

from typing import Any

import pytest

from paperbroker.protocols import limits
from paperbroker.protocols.websocket import WebSocketProtocol
from tests.fuzz.targets.stream import frame
from tests.paperbroker.connection_rig import HANDSHAKE, HEAD, Server, feed, run, status


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


def test_little_is_held_for_a_subscriber_that_does_not_read():
    """Otherwise the sender would notice a slow subscriber only after megabytes of events."""

    async def scenario(server: Server) -> None:
        client = await server.connect(HANDSHAKE)
        assert client.write_bytes_high == limits.STREAM_BUFFER_BYTES

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
