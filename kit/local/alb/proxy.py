"""A client's connection to a load balancer node.

Owns reading requests one at a time and in order, and the connection's end. Must not know targets or MiniStack;
`exchange` carries each request.
"""

import asyncio
import random
from typing import Protocol

from kit.local.alb.exchange import Exchange
from kit.local.alb.framing import (
    HEAD_BYTES_MAX,
    HEAD_END,
    REQUEST_LINE_BYTES_MAX,
    BadMessage,
    parse_request_head,
    request_body,
)
from kit.local.alb.listener_rules import Rule
from kit.local.alb.metrics import Counters, NodeCounters
from kit.local.alb.nodes import Node
from kit.local.alb.proxied_connection import HOLD_PIPELINE, ProxiedConnection
from kit.local.alb.replies import own_reply
from kit.local.alb.targets import TargetGroup
from kit.local.endpoints import INTERNET

# Bytes of later requests kept while one is being answered; more stay in the client's socket.
PIPELINE_BYTES_MAX = 64 * 1024
# How long a client that was refused while still sending is read from before its connection is dropped.
LINGER_S = 2.0


class Front(Protocol):
    """What the data plane needs from its load balancer."""

    listener_port: int
    rules: tuple[Rule, ...]
    connect_timeout_s: float
    counters: Counters
    random: random.Random
    away_from: frozenset[str]

    def group(self, arn: str, /) -> TargetGroup | None:
        """The target group a rule forwards to."""
        ...

    def joined(self, client: "ClientConnection") -> None:
        """A client connected."""
        ...

    def left(self, client: "ClientConnection") -> None:
        """A client's connection is gone."""
        ...


class ClientConnection(ProxiedConnection):
    """One client's connection to a node: reads requests one at a time, in order."""

    ends_through_link = False

    def __init__(self, front: Front, node: Node) -> None:
        super().__init__(node.links, near=node.endpoint, far=INTERNET)
        self.front = front
        self.node = node
        self.address = b"127.0.0.1"
        self.exchange: Exchange | None = None
        self._buffer = b""
        self._drop_at = float("inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection and remember who it is."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        if peer:
            self.address = str(peer[0]).encode()
        self.counters.new_connections += 1
        self.front.joined(self)

    @property
    def counters(self) -> NodeCounters:
        """The counters of this connection's node in the current period."""
        return self.front.counters.node(self.node.endpoint.zone)

    def on_bytes(self, data: bytes) -> None:
        """Bytes of the current request's body, of a tunnel, or of a request to come."""
        if self.closing:
            return
        exchange = self.exchange
        if exchange is not None and not exchange.request_done:
            data = exchange.feed(data)
        if not data or self.closing:
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self.exchange is None:
            self._answer_requests()
        elif len(self._buffer) > PIPELINE_BYTES_MAX:
            self.hold(HOLD_PIPELINE, True)

    def on_lost(self) -> None:
        """The client is gone: so is its request."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandon()
        self.front.left(self)

    def done(self, *, keep_alive: bool, unread: bool = False) -> None:
        """The current exchange is over; go on with the next request, or close."""
        self.exchange = None
        if not keep_alive:
            self._end(unread)
        elif self._buffer:
            # Not called directly: a long pipeline of short answers would recurse.
            self.loop.call_soon(self._answer_requests)

    def feed_tunnel(self) -> None:
        """A tunnel opened: what the client sent ahead belongs to it."""
        data, self._buffer = self._buffer, b""
        self.hold(HOLD_PIPELINE, False)
        if data and self.exchange is not None:
            self.exchange.feed(data)

    def check_idle(self, now: float, idle_s_max: float) -> None:
        """Apply the idle time-out."""
        exchange = self.exchange
        if now > self._drop_at:
            self.abort()
        elif exchange is None:
            if now - self.heard_at > idle_s_max:
                self.abort() if self.closing else self.close()
        elif now - max(self.heard_at, exchange.heard_at()) > idle_s_max:
            exchange.time_out()

    def _answer_requests(self) -> None:
        while self.exchange is None and self._buffer and not self.closing:
            data = self._buffer.lstrip(b"\r\n")
            end = data.find(HEAD_END)
            if end < 0:
                self._buffer = data
                self._refuse_if_oversized(data)
                return
            try:
                head = parse_request_head(data[:end])
                body = request_body(head)
                taken = body.take(data[end + 4 :])
            except BadMessage:
                self.refuse(400)
                return
            first = data[end + 4 : end + 4 + taken]
            self._buffer = data[end + 4 + taken :]
            self.hold(HOLD_PIPELINE, False)
            self.exchange = Exchange(self, head, body)
            self.exchange.start(data[:end], first)

    def _refuse_if_oversized(self, data: bytes) -> None:
        if b"\r\n" not in data and len(data) > REQUEST_LINE_BYTES_MAX:
            self.refuse(414)
        elif len(data) > HEAD_BYTES_MAX:
            self.refuse(400)

    def refuse(self, status: int) -> None:
        """Answer what cannot be served, and close."""
        self._buffer = b""
        self.counters.own_codes[status] += 1
        self.write(own_reply(status, close=True))
        self._end(unread=True)

    def _end(self, unread: bool) -> None:
        self._buffer = b""
        if unread:
            self._drop_at = self.loop.time() + LINGER_S
        self.close(linger=unread)
