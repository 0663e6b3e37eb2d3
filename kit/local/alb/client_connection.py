"""Read a client's requests, one at a time and in order."""

import asyncio
import resource

from kit.local.alb.exchange import Client, Exchange, LoadBalancer
from kit.local.alb.framing import request_body
from kit.local.alb.heads import (
    BARE_NEWLINE,
    HEAD_BYTES_MAX,
    HEAD_END,
    LINE_BYTES_MAX,
    BadMessage,
    parse_request_head,
)
from kit.local.alb.nodes import Node
from kit.local.alb.proxied_connection import PAUSE_PIPELINE_FULL
from kit.local.alb.replies import own_reply

# How many bytes of later requests are buffered while one is being answered. The rest stays in the client's socket.
PIPELINE_BYTES_MAX = 64 * 1024
# A refused client may still be sending. Its bytes are read and ignored for this long, then the connection is dropped.
LINGER_S = 2.0
# What all clients connect from, but for functions.
LOOPBACK = "127.0.0.1"
# Clients of one load balancer, so that a flood leaves descriptors for targets and the rest of the process.
CLIENTS_MAX = min(4000, max(256, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))


class ClientConnection(Client):
    """One client's connection to a node. It is in `open_connections` while it is open."""

    ends_through_link = False

    def __init__(self, balancer: LoadBalancer, node: Node, open_connections: "set[ClientConnection]") -> None:
        super().__init__(balancer, node)
        self.exchange: Exchange | None = None
        self._open_connections = open_connections
        self._buffer = b""
        self._scanned = 0  # No head ends in the buffer before this index.
        self._head_began_at = self.last_received_at
        self._drop_at = float("inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and identify who connects."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        if peer and peer[0] != LOOPBACK:
            # A function of Lambda. Its address is as made up as those of tasks.
            self.identify(self.node.links.endpoint_at(peer[0]))
        self.counters.new_connections += 1
        self._open_connections.add(self)
        if not self.balancer.rules:
            # A load balancer without a listener would not have accepted the connection.
            self.abort()
        elif len(self._open_connections) > CLIENTS_MAX:
            self._make_room()

    def on_bytes(self, data: bytes) -> None:
        """Receive bytes of the current request's body, of a tunnel, or of a later request."""
        if self.closing:
            return
        exchange = self.exchange
        if exchange is not None and not exchange.request_done:
            data = exchange.feed(data)
        if not data or self.closing:
            return
        if not self._buffer:
            self._head_began_at = self.loop.time()
        self._buffer += data
        self._answer_requests()
        if len(self._buffer) > PIPELINE_BYTES_MAX:
            self.set_pause(PAUSE_PIPELINE_FULL, True)

    def on_lost(self) -> None:
        """Abandon the current request, because the client has disconnected."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandon()
        self._open_connections.discard(self)

    def done(self, *, keep_alive: bool, unread: bool = False) -> None:
        """End the current exchange, then start the next request or close the connection."""
        self.exchange = None
        if not keep_alive:
            self._end(unread)
        elif self._buffer:
            self._head_began_at = self.loop.time()
            # A direct call would recurse through a long pipeline of short answers.
            self.loop.call_soon(self._answer_requests)

    def feed_tunnel(self) -> None:
        """Pass the bytes that the client sent early into the tunnel that has opened."""
        data, self._buffer = self._buffer, b""
        self.set_pause(PAUSE_PIPELINE_FULL, False)
        if data and self.exchange is not None:
            self.exchange.feed(data)

    def check_idle(self, now: float, idle_s_max: float) -> None:
        """Apply the idle timeout."""
        exchange = self.exchange
        if now > self._drop_at:
            self.abort()
        elif exchange is None:
            self._check_between_requests(now, idle_s_max)
        elif now - max(self.last_received_at, exchange.last_received_at()) > idle_s_max:
            exchange.time_out()

    def _check_between_requests(self, now: float, idle_s_max: float) -> None:
        """Apply the idle timeout, to a whole head as well: bytes that trickle in do not prolong it."""
        if self._buffer and not self.closing:
            if now - self._head_began_at > idle_s_max:
                self.refuse(408)
        elif now - self.last_received_at > idle_s_max:
            self.abort() if self.closing else self.close()

    def _make_room(self) -> None:
        """Drop the client that has kept the load balancer waiting for longest; if none does, reject this one."""
        waiting = [c for c in self._open_connections if c is not self and not c.closing and c.keeps_waiting]
        if waiting:
            min(waiting, key=lambda client: client.last_received_at).abort()
        else:
            self.counters.rejected_connections += 1
            self.abort()

    @property
    def keeps_waiting(self) -> bool:
        """Whether the client has to act next: send, or take what was sent."""
        exchange = self.exchange
        return exchange is None or bool(self._full) or not (exchange.request_done or exchange.is_tunnel)

    def _set_full(self, reason: int, full: bool) -> None:
        super()._set_full(reason, full)
        if not self._full:
            self.loop.call_soon(self._answer_requests)

    def _answer_requests(self) -> None:
        """Start the next request, unless the client still has to take answers: they would pile up."""
        while self.exchange is None and self._buffer and not self.closing and not self._full:
            if self._buffer[:1] in (b"\r", b"\n"):
                self._buffer, self._scanned = self._buffer.lstrip(b"\r\n"), 0
            data = self._buffer
            end = data.find(HEAD_END, self._scanned)
            if end < 0:
                self._refuse_if_malformed(data)
                return
            try:
                head = parse_request_head(data[:end])
                body = request_body(head)
                taken = body.take(data[end + 4 :])
            except BadMessage as error:
                self.refuse(error.status)
                return
            first = data[end + 4 : end + 4 + taken]
            self._buffer, self._scanned = data[end + 4 + taken :], 0
            self.set_pause(PAUSE_PIPELINE_FULL, False)
            self.exchange = Exchange(self, head, body)
            self.exchange.start(data[:end], first)

    def _refuse_if_malformed(self, data: bytes) -> None:
        """Refuse a head that can have no good end."""
        if b"\r\n" not in data and len(data) > LINE_BYTES_MAX:
            self.refuse(414)
        elif len(data) > HEAD_BYTES_MAX or BARE_NEWLINE.search(data, self._scanned):
            self.refuse(400)
        self._scanned = max(0, len(data) - len(HEAD_END))

    def refuse(self, status: int) -> None:
        """Answer the current request with an error and close."""
        self.exchange = None
        self._buffer = b""
        self.counters.own_codes[status] += 1
        self.write(own_reply(status, close=True))
        self._end(unread=True)

    def _end(self, unread: bool) -> None:
        self._buffer = b""
        if unread:
            self._drop_at = self.loop.time() + LINGER_S
        self.close(linger=unread)
