"""One client and one target of the local load balancer, in this process and without sockets.

`Proxy.pass_requests` gives the client's bytes to the real `ClientConnection`. The target answers each request as soon
as it is complete. What the target got is what an attacker can make it see.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from kit.local.alb.client_connection import ClientConnection
from kit.local.alb.exchange import LoadBalancer
from kit.local.alb.listener_rules import Action, Rule
from kit.local.alb.metrics import Counters
from kit.local.alb.nodes import Node
from kit.local.alb.upstream import Pool, UpstreamConnection
from kit.local.endpoints import Endpoint
from kit.local.links import Links
from tests.fuzz.transport import RecordingTransport, event_loop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What the target got, request by request, with whether it was complete; and what the client got."""

    forwarded: list[tuple[bytes, bool]]
    answered: bytes
    ended: bool
    own_statuses: list[int]


class _Target:
    """A target that never drains and keeps no state."""

    def __init__(self) -> None:
        self.id, self.zone, self.draining, self.host_port = "10.0.0.1", "us-east-1a", False, 1
        self.endpoint = Endpoint(kind="task", id="t", zone=self.zone, subnet="app-a", service="api")
        self.in_flight: set[Any] = set()


class _Pool(Pool):
    """A pool whose connections need no socket. `connect_target` joins one to a target, if there is a real one."""

    def __init__(
        self, links: Links, node: Endpoint, target: Any, connect_target: Callable[[], RecordingTransport]
    ) -> None:
        super().__init__(links, node=node, target=target)
        self.opened: list[RecordingTransport] = []
        self._connect_target = connect_target

    def take(self) -> UpstreamConnection:
        found = super().take()
        if found is None:
            found = self._build()
            self.connections.add(found)
            transport = self._connect_target()
            transport.connect(found)
            self.opened.append(transport)
        return found


class Proxy:
    """A load balancer with one node. Each `pass_…` is one connection of a client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, told: list[str]) -> None:
        self._loop = loop
        self._told = told
        self._links = Links(seed=1)
        self._rules = (Rule(conditions=(), action=Action(kind="forward", groups=(("g", 1),))),)

    def pass_requests(self, pieces: Sequence[bytes], answer: Sequence[bytes] = (ANSWER,)) -> Passed:
        """Send the pieces; the target answers each complete request with the pieces of `answer`."""
        passed = self._loop.run_until_complete(self._pass(pieces, answer))
        told = [*self._told]
        self._told.clear()
        assert told == [], f"the event loop was told of {told}"
        return passed

    async def pass_to(self, connect_target: Callable[[], RecordingTransport], pieces: Sequence[bytes]) -> Passed:
        """Send the pieces through the load balancer to a real target, and wait until all is quiet."""
        client, pool, balancer = self._connect(connect_target)
        transport = RecordingTransport()
        transport.connect(client)
        for piece in pieces:
            transport.feed(piece)
            await _turn(20)
        await _turn(60)
        statuses = _own_statuses(balancer)
        ended = transport.is_closing() or transport.eof_sent
        transport.lose()
        for upstream in pool.opened:
            upstream.close()
        await _turn(20)
        return Passed(forwarded=[], answered=bytes(transport.written), ended=ended, own_statuses=statuses)

    def _connect(self, connect_target: Callable[[], RecordingTransport]) -> tuple[ClientConnection, _Pool, Any]:
        endpoint = Endpoint(kind="node", id="n", zone="us-east-1a", subnet="pub-a", service="")
        node, target = Node(self._links, endpoint), _Target()
        pool = _Pool(self._links, endpoint, target, connect_target)
        group = SimpleNamespace(pick=lambda *_: target, spec=SimpleNamespace(full_name="g"))
        balancer = SimpleNamespace(
            rules=self._rules, listener_port=80, connect_timeout_s=1.0, counters=Counters(), random=random.Random(1),
            away_from=frozenset(), group=lambda arn: group,
        )  # fmt: skip
        node.pool = cast(Any, lambda _: pool)
        return ClientConnection(cast(LoadBalancer, balancer), node, set()), pool, balancer

    async def _pass(self, pieces: Sequence[bytes], answer: Sequence[bytes]) -> Passed:
        client, pool, balancer = self._connect(RecordingTransport)
        transport = RecordingTransport()
        transport.connect(client)
        forwarded: list[tuple[bytes, bool]] = []
        for piece in pieces:
            transport.feed(piece)
            await self._answer(client, pool, answer, forwarded)
        if client.exchange is not None:
            forwarded.append((self._take(pool), client.exchange.request_done))
        ended = transport.is_closing() or transport.eof_sent
        statuses = _own_statuses(balancer)
        transport.lose()
        for upstream in pool.opened:
            upstream.lose()
        return Passed(forwarded=forwarded, answered=bytes(transport.written), ended=ended, own_statuses=statuses)

    async def _answer(
        self, client: ClientConnection, pool: _Pool, answer: Sequence[bytes], forwarded: list[tuple[bytes, bool]]
    ) -> None:
        """Let the target answer until the client has no complete request left."""
        await asyncio.sleep(0)
        while (exchange := client.exchange) is not None and exchange.request_done and not exchange.is_tunnel:
            forwarded.append((self._take(pool), True))
            for piece in answer:
                pool.opened[-1].feed(piece)
            for upstream in pool.opened:
                if upstream.is_closing():
                    upstream.lose()
            if client.exchange is exchange:
                return  # The answer is not complete.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    @staticmethod
    def _take(pool: _Pool) -> bytes:
        """Return what the target got since the last call."""
        got = b"".join(bytes(upstream.written) for upstream in pool.opened)
        for upstream in pool.opened:
            upstream.written.clear()
        return got


async def _turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


def _own_statuses(balancer: Any) -> list[int]:
    return [status for counted in balancer.counters.nodes.values() for status in counted.own_codes.elements()]


@contextmanager
def proxy() -> Iterator[Proxy]:
    """Run a load balancer."""
    with event_loop() as (loop, told):
        yield Proxy(loop, told)
