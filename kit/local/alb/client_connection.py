"""Read a client's requests, one at a time and in order."""

import asyncio

from kit.local.alb.exchange import Client, Exchange, LoadBalancer
from kit.local.alb.framing import (
    HEAD_BYTES_MAX,
    HEAD_END,
    REQUEST_LINE_BYTES_MAX,
    BadMessage,
    parse_request_head,
    request_body,
)
from kit.local.alb.nodes import Node
from kit.local.alb.proxied_connection import PAUSE_PIPELINE_FULL
from kit.local.alb.replies import own_reply

# How many bytes of later requests are buffered while one is being answered. The rest stays in the client's socket.
PIPELINE_BYTES_MAX = 64 * 1024
# A refused client may still be sending. Its bytes are read and ignored for this long, then the connection is dropped.
LINGER_S = 2.0


class ClientConnection(Client):
    """One client's connection to a node. It is in `open_connections` while it is open."""

    ends_through_link = False

    def __init__(self, balancer: LoadBalancer, node: Node, open_connections: "set[ClientConnection]") -> None:
        super().__init__(balancer, node)
        self.exchange: Exchange | None = None
        self._open_connections = open_connections
        self._buffer = b""
        self._drop_at = float("inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection and keep its address."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        if peer:
            self.address = str(peer[0]).encode()
        self.counters.new_connections += 1
        self._open_connections.add(self)
        if not self.balancer.rules:
            # A load balancer without a listener would not have accepted the connection.
            self.abort()

    def on_bytes(self, data: bytes) -> None:
        """Receive bytes of the current request's body, of a tunnel, or of a later request."""
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
            if now - self.last_received_at > idle_s_max:
                self.abort() if self.closing else self.close()
        elif now - max(self.last_received_at, exchange.last_received_at()) > idle_s_max:
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
            self.set_pause(PAUSE_PIPELINE_FULL, False)
            self.exchange = Exchange(self, head, body)
            self.exchange.start(data[:end], first)

    def _refuse_if_oversized(self, data: bytes) -> None:
        if b"\r\n" not in data and len(data) > REQUEST_LINE_BYTES_MAX:
            self.refuse(414)
        elif len(data) > HEAD_BYTES_MAX:
            self.refuse(400)

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
