"""Test the load balancer's data plane with targets and clients that misbehave, over real sockets."""

import asyncio
from typing import Any

import pytest
import websockets

from tests.local.alb_rig import Request, Rig, hang, run
from tests.polling import wait_until_async


def test_no_registered_target_is_503() -> None:
    async def scenario(made: Rig) -> None:
        status, body = await made.get()
        assert status == 503
        assert b"503 Service Unavailable" in body

    run(scenario)


def test_a_target_that_refuses_is_502_and_the_connection_survives() -> None:
    async def scenario(made: Rig) -> None:
        target = await made.add_target("1")
        target.stop()
        client = await made.connect()
        assert (await client.ask())[0] == 502
        await target.start()
        assert await client.ask() == (200, b"1")

    run(scenario)


def test_a_target_that_dies_with_a_request_is_502_and_the_request_is_not_sent_again() -> None:
    async def scenario(made: Rig) -> None:
        async def die(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()
            raise ConnectionError

        first, second = await made.add_target("1", die), await made.add_target("2", die)
        assert (await made.get(method="POST", body=b"once"))[0] == 502
        await asyncio.sleep(0.05)
        assert len(first.requests) + len(second.requests) == 1

    run(scenario)


def test_an_unrequested_protocol_switch_is_502() -> None:
    async def switch(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")

    async def scenario(made: Rig) -> None:
        await made.add_target("1", switch)
        assert (await made.get())[0] == 502

    run(scenario)


def test_invalid_http_from_a_target_is_502() -> None:
    async def garbage(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")

    async def scenario(made: Rig) -> None:
        await made.add_target("1", garbage)
        assert (await made.get())[0] == 502

    run(scenario)


def test_a_target_cut_in_mid_response_cuts_the_client() -> None:
    async def half(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        raise ConnectionError

    async def scenario(made: Rig) -> None:
        await made.add_target("1", half)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await made.get()

    run(scenario)


def test_a_target_that_hangs_is_504_after_the_idle_timeout() -> None:
    async def scenario(made: Rig) -> None:
        await made.set_attributes(idle_timeout_s="0.4")
        await made.add_target("1", hang)
        client = await made.connect()
        assert (await client.ask())[0] == 504

    run(scenario)


def test_an_idle_client_is_closed_and_an_idle_websocket_too() -> None:
    async def scenario(made: Rig) -> None:
        await made.set_attributes(idle_timeout_s="0.4")
        client = await made.connect()
        assert await asyncio.wait_for(client.reader.read(), 3) == b""

        async def idle(connection: Any) -> None:
            await connection.wait_closed()

        async with websockets.serve(idle, "127.0.0.1", 0, ping_interval=None) as server:
            await made.stop_checks()
            made.service.register_address(made.group_arn, "127.0.0.1", server.sockets[0].getsockname()[1])
            async with websockets.connect(f"ws://127.0.0.1:{made.port}/", proxy=None, ping_interval=None) as client:
                with pytest.raises(websockets.ConnectionClosedError):
                    await asyncio.wait_for(client.recv(), 3)

    run(scenario)


def test_a_request_ends_when_its_client_hangs_up() -> None:
    async def scenario(made: Rig) -> None:
        target = await made.add_target("1", hang)
        client = await made.connect()
        client.send()
        await wait_until_async(lambda: len(target.requests) == 1, "request at the target")
        client.writer.transport.abort()
        group = made.service._groups[made.group_arn]
        await wait_until_async(lambda: not any(t.in_flight for t in group.targets.values()), "exchange over")

    run(scenario)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000, 400),
        (b"GET /" + b"x" * 20_000, 414),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -4\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ],
)
def test_malformed_requests_are_refused_and_reach_no_target(raw: bytes, status: int) -> None:
    async def scenario(made: Rig) -> None:
        target = await made.add_target("1")
        client = await made.connect()
        client.writer.write(raw)
        assert (await client.answer())[0] == status
        assert await client.reader.read() == b""
        assert target.requests == []

    run(scenario)


def test_an_early_refusal_reaches_a_client_that_is_still_sending() -> None:
    """The load balancer keeps reading for a moment. Otherwise the kernel would discard the answer."""

    async def scenario(made: Rig) -> None:
        client = await made.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 8000000\r\n\r\n")
        client.writer.write(b"x" * 4_000_000)
        await asyncio.sleep(0.2)
        status, head, _ = await client.full_answer()
        assert status == 503
        assert "Connection: close" in head

    run(scenario)
