"""Test the load balancer's data plane with HTTP/1.1 over real sockets."""

import asyncio
import http.client
import socket
from collections import Counter
from typing import Any

import pytest
import websockets

from tests.local.alb_rig import Request, Rig, add_listener, call, reply, run


def test_requests_of_one_connection_spread_over_all_targets() -> None:
    """Round robin: 40 requests on one connection reach each of 4 targets 10 times."""

    async def scenario(made: Rig) -> None:
        for name in "1234":
            await made.add_target(name)
        await made.until_all_healthy()
        client = await made.connect()
        answers = Counter([(await client.ask())[1] for _ in range(40)])
        assert set(answers.values()) == {10}

    run(scenario)


def test_connections_to_targets_are_reused() -> None:
    async def scenario(made: Rig) -> None:
        target = await made.add_target("1")
        await made.stop_checks()
        client = await made.connect()
        before = len(target.writers)
        for _ in range(20):
            assert await client.ask() == (200, b"1")
        assert len(target.writers) - before <= 1

    run(scenario)


def test_bodies_pass_in_both_directions_with_length_and_in_chunks() -> None:
    async def echo(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.path == "/chunked":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(request.body), 1000):
                part = request.body[at : at + 1000]
                writer.write(b"%x\r\n%s\r\n" % (len(part), part))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(reply(200, request.body))

    async def scenario(made: Rig) -> None:
        await made.add_target("1", echo)
        body = bytes(range(256)) * 1000

        def talk() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=5)
            for path in ("/length", "/chunked"):
                connection.request("POST", path, body=body)
                assert connection.getresponse().read() == body
                pieces = [body[at : at + 777] for at in range(0, len(body), 777)]
                connection.request("POST", path, body=iter(pieces), encode_chunked=True)
                assert connection.getresponse().read() == body
            connection.close()

        await asyncio.to_thread(talk)

    run(scenario)


def test_a_large_body_is_not_held_in_memory_when_the_client_reads_slowly() -> None:
    """Backpressure: the target cannot push 32 MB into the load balancer for a client that does not read."""
    pushed = 0

    async def push(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal pushed
        size = 32 * 1024 * 1024
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        block = b"x" * 65536
        for _ in range(size // len(block)):
            writer.write(block)
            await writer.drain()
            pushed += len(block)

    async def scenario(made: Rig) -> None:
        await made.add_target("1", push)
        client = await made.connect()
        client.send()
        await asyncio.sleep(0.5)
        assert 0 < pushed < 24 * 1024 * 1024
        _, _, body = await client.full_answer()
        assert len(body) == 32 * 1024 * 1024

    run(scenario)


def test_head_204_and_304_have_no_body() -> None:
    async def answer(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.method == "HEAD":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        else:
            status = request.path.strip("/")
            writer.write(f"HTTP/1.1 {status} X\r\n\r\n".encode())

    async def scenario(made: Rig) -> None:
        await made.add_target("1", answer)
        client = await made.connect()
        assert await client.ask("/", "HEAD") == (200, b"")
        assert await client.ask("/204") == (204, b"")
        assert await client.ask("/304") == (304, b"")
        assert await client.ask("/204") == (204, b"")

    run(scenario)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def answer(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02 if request.path == "/0" else 0)
        writer.write(reply(200, request.path.encode()))

    async def scenario(made: Rig) -> None:
        await made.add_target("1", answer)
        await made.add_target("2", answer)
        client = await made.connect()
        for i in range(10):
            client.send(f"/{i}", "POST", b"body" * i)
        assert [(await client.answer())[1] for _ in range(10)] == [f"/{i}".encode() for i in range(10)]

    run(scenario)


def test_expect_continue_reaches_the_target_and_its_100_comes_back() -> None:
    async def scenario(made: Rig) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Expect: 100-continue" in head
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            writer.write(reply(200, await reader.readexactly(4)))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await made.stop_checks()
        made.service.register_address(made.group_arn, "127.0.0.1", port)
        client = await made.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert await client.answer() == (100, b"")
        client.writer.write(b"abcd")
        assert await client.answer() == (200, b"abcd")
        server.close()

    run(scenario)


def test_targets_get_the_clients_address_and_a_trace_id() -> None:
    async def scenario(made: Rig) -> None:
        target = await made.add_target("1")
        client = await made.connect()
        await client.ask(
            "/", "GET", b"", "X-Forwarded-For: 1.2.3.4", "X-Amzn-Trace-Id: Root=1-abc;Sampled=1", "Connection: x"
        )
        headers = target.requests[0].headers
        assert headers["x-forwarded-for"] == "1.2.3.4, 127.0.0.1"
        assert headers["x-forwarded-port"] == "80"
        assert headers["x-forwarded-proto"] == "http"
        assert headers["x-amzn-trace-id"].startswith("Self=1-")
        assert headers["x-amzn-trace-id"].endswith(";Root=1-abc;Sampled=1")
        assert "connection" not in headers

    run(scenario)


def test_websockets_pass_in_both_directions() -> None:
    async def scenario(made: Rig) -> None:
        async def echo(connection: Any) -> None:
            async for message in connection:
                await connection.send(message)

        async with websockets.serve(echo, "127.0.0.1", 0) as server:
            await made.stop_checks()
            made.service.register_address(made.group_arn, "127.0.0.1", server.sockets[0].getsockname()[1])
            async with websockets.connect(f"ws://127.0.0.1:{made.port}/stream", proxy=None) as client:
                for message in ("hello", "x" * 200_000, b"\x00" * 1000):
                    await client.send(message)
                    assert await client.recv() == message
                await client.close(4008, "slow")
                assert client.close_code == 4008

    run(scenario)


def test_target_of_a_websocket_notices_soon_that_the_client_does_not_read() -> None:
    """Kernel and load balancer hold some ten kilobytes each, not megabytes."""
    pushed, stalled, over = 0, asyncio.Event(), asyncio.Event()

    async def push(connection: Any) -> None:
        nonlocal pushed
        sending = asyncio.ensure_future(connection.send("x" * 1_000))
        while (await asyncio.wait({sending}, timeout=0.3))[0]:
            pushed += 1_000
            sending = asyncio.ensure_future(connection.send("x" * 1_000))
        stalled.set()
        await over.wait()
        sending.cancel()

    async def scenario(made: Rig) -> None:
        # Neither end waits for the other's close frame, which cannot get through.
        async with websockets.serve(push, "127.0.0.1", 0, compression=None, close_timeout=0) as server:
            server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
            await made.stop_checks()
            made.service.register_address(made.group_arn, "127.0.0.1", server.sockets[0].getsockname()[1])
            unread = socket.socket()
            unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            unread.connect(("127.0.0.1", made.port))
            unread.setblocking(False)
            url = f"ws://127.0.0.1:{made.port}/stream"
            async with websockets.connect(url, sock=unread, proxy=None, max_queue=1, close_timeout=0):
                await asyncio.wait_for(stalled.wait(), 10)
                assert 0 < pushed < 400_000
                over.set()

    run(scenario)


def test_a_request_sent_byte_by_byte_is_parsed() -> None:
    async def scenario(made: Rig) -> None:
        target = await made.add_target("1")
        client = await made.connect()
        head = b"POST /slow HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw = head + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
        for i in range(len(raw)):
            client.writer.write(raw[i : i + 1])
            await asyncio.sleep(0.001)
        assert await client.answer() == (200, b"1")
        assert (target.requests[0].path, target.requests[0].body) == ("/slow", b"abcde")

    run(scenario)


def test_a_response_without_length_ends_with_the_connection() -> None:
    async def until_close(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall there is")
        raise ConnectionError

    async def scenario(made: Rig) -> None:
        await made.add_target("1", until_close)
        client = await made.connect()
        client.send()
        status, head, body = await client.full_answer()
        assert (status, body) == (200, b"all there is")
        assert "Connection: close" in head

    run(scenario)


def test_rules_choose_by_path_before_the_default() -> None:
    async def scenario(made: Rig) -> None:
        await made.add_target("1")
        listeners = await call("DescribeListeners", LoadBalancerArn=made.arn)
        listener = listeners.partition("<ListenerArn>")[2].partition("<")[0]
        await call(
            "CreateRule",
            **{
                "ListenerArn": listener, "Priority": 1,
                "Conditions.member.1.Field": "path-pattern", "Conditions.member.1.Values.member.1": "/static/*",
                "Actions.member.1.Type": "fixed-response",
                "Actions.member.1.FixedResponseConfig.StatusCode": "418",
                "Actions.member.1.FixedResponseConfig.MessageBody": "teapot",
            },
        )  # fmt: skip
        await asyncio.sleep(0.02)
        client = await made.connect()
        assert await client.ask("/static/x") == (418, b"teapot")
        assert await client.ask("/") == (200, b"1")

    run(scenario)


def test_without_a_listener_connections_are_refused() -> None:
    async def scenario(made: Rig) -> None:
        with pytest.raises(ConnectionRefusedError):
            await made.connect()
        await add_listener(made)
        assert (await made.get())[0] == 503

    run(scenario, listener=False)


def test_a_deleted_load_balancer_closes_its_port() -> None:
    async def scenario(made: Rig) -> None:
        client = await made.connect()
        await call("DeleteLoadBalancer", LoadBalancerArn=made.arn)
        assert await asyncio.wait_for(client.reader.read(), 2) == b""
        with pytest.raises(ConnectionRefusedError):
            await made.connect()

    run(scenario)
