"""Clients that send malformed requests, send slowly, do not read, hang up or come in floods."""

import asyncio
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from kit.local.alb import client_connection
from kit.local.alb.client_connection import ClientConnection
from kit.local.alb.listener_rules import Action, Rule
from kit.local.alb.metrics import Counters, NodeCounters
from kit.local.alb.nodes import Node
from kit.local.endpoints import Endpoint
from kit.local.links import Links
from tests.fuzz.transport import RecordingTransport, event_loop
from tests.local.alb_rig import Client, Request, Rig, reply, run
from tests.polling import wait_until_async

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"


def own_codes(rig: Rig) -> dict[int, int]:
    """Return how many answers of each status the load balancer has made itself."""
    total: Counter[int] = Counter()
    for node in counters(rig):
        total.update(node.own_codes)
    return dict(total)


def counters(rig: Rig) -> list[NodeCounters]:
    (balancer,) = rig.service._balancers.values()
    return list(balancer.counters.nodes.values())


async def send(rig: Rig, data: bytes) -> Client:
    client = await rig.connect()
    client.writer.write(data)
    return client


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET /" + b"x" * 17_000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX", 400),
    ],
)
def test_malformed_request_is_refused_at_once(sent: bytes, status: int):
    """Also a head with bare line feeds, which has no end for the load balancer."""

    async def scenario(rig: Rig) -> None:
        await rig.add_target("1")
        await rig.stop_checks()
        client = await send(rig, sent)
        assert (await client.answer())[0] == status
        assert await client.reader.read() == b""

    run(scenario)


def test_head_that_trickles_in_gets_408_after_the_idle_timeout():
    """Each byte is activity, but none of them prolongs the head's time."""

    async def scenario(rig: Rig) -> None:
        await rig.add_target("1")
        await rig.set_attributes(idle_timeout_s="1")
        client = await send(rig, b"GET / HTTP/1.1\r\nX: ")

        async def trickle() -> None:
            while True:
                client.writer.write(b"x")
                await asyncio.sleep(0.1)

        trickling = asyncio.create_task(trickle())
        async with asyncio.timeout(3):
            assert (await client.answer())[0] == 408
        trickling.cancel()
        assert own_codes(rig) == {408: 1}

    run(scenario)


@pytest.mark.parametrize("sent", [UPLOAD, REQUEST])
def test_client_that_hangs_up_is_counted_as_460_and_not_as_a_server_error(sent: bytes):
    """In the middle of a body, and while the answer is being made; the target sees its connection end."""

    async def scenario(rig: Rig) -> None:
        ended = asyncio.Event()

        async def wait(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.read()
            finally:
                ended.set()

        target = await rig.add_target("1", wait)
        await rig.stop_checks()
        for _ in range(20):
            client = await send(rig, sent)
            await asyncio.sleep(0.005)
            client.writer.close()
        await wait_until_async(lambda: own_codes(rig) == {460: 20}, f"20 × 460, are {own_codes(rig)}")
        if target.requests:
            await ended.wait()
        await wait_until_async(lambda: len(rig.service._balancers[rig.arn].clients) == 0, "no client is left")

    run(scenario)


def test_own_answers_do_not_pile_up_before_a_client_that_does_not_read():
    """Without a target each request is answered with 503. They wait until the client reads."""
    with event_loop() as (loop, _):

        async def scenario() -> None:
            balancer: Any = SimpleNamespace(
                rules=(Rule(conditions=(), action=Action(kind="forward", groups=(("g", 1),))),),
                counters=Counters(), random=random.Random(1), group=lambda arn: None,
            )  # fmt: skip
            node = Node(Links(seed=1), Endpoint(kind="node", id="n", zone="", subnet="pub-a", service=""))
            client, transport = ClientConnection(balancer, node, set()), RecordingTransport()
            transport.connect(client)
            client.pause_writing()
            transport.feed(REQUEST * 3000)
            await asyncio.sleep(0.01)
            assert transport.written == b"" and not transport.reading
            client.resume_writing()
            for _ in range(3010):
                await asyncio.sleep(0)
            assert bytes(transport.written).count(b"HTTP/1.1 503") == 3000 and transport.reading

        loop.run_until_complete(scenario())


def test_flood_of_idle_clients_drops_the_oldest_and_spares_requests_and_new_clients(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_connection, "CLIENTS_MAX", 5)

    async def scenario(rig: Rig) -> None:
        go = asyncio.Event()

        async def wait(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await go.wait()
            writer.write(reply(200, b"done"))

        await rig.add_target("1", wait)
        await rig.stop_checks()
        busy = await send(rig, REQUEST)
        idle = []
        for _ in range(10):
            idle.append(await rig.connect())
            await asyncio.sleep(0.005)  # The clock that tells the oldest has a resolution of 1 ms.
        await asyncio.sleep(0.05)
        assert [client.reader.at_eof() or client.reader.exception() is not None for client in idle] == [
            *([True] * 6), *([False] * 4),
        ]  # fmt: skip
        go.set()
        assert await busy.answer() == (200, b"done")
        assert (await idle[-1].ask())[0] == 200

    run(scenario)


def test_client_beyond_the_bound_is_rejected_and_counted_while_all_are_busy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_connection, "CLIENTS_MAX", 2)

    async def scenario(rig: Rig) -> None:
        async def never(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        await rig.add_target("1", never)
        await rig.stop_checks()
        for _ in range(2):
            await send(rig, REQUEST)
        await asyncio.sleep(0.05)
        rejected = await rig.connect()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await rejected.ask()
        assert sum(node.rejected_connections for node in counters(rig)) == 1

    run(scenario)
