"""Connect load balancer nodes to targets, and keep idle connections for later requests."""

import asyncio
from collections import deque
from typing import Protocol

from kit.local.alb.framing import Body, CloseBody, response_body
from kit.local.alb.heads import BARE_NEWLINE, HEAD_BYTES_MAX, HEAD_END, BadMessage, Head, parse_response_head
from kit.local.alb.proxied_connection import ProxiedConnection
from kit.local.alb.targets import Target
from kit.local.endpoints import Endpoint
from kit.local.links import Links

# The limit is fixed on AWS too: if a target does not accept a connection within ten seconds, the answer is 504.
TARGET_CONNECT_TIMEOUT_S = 10.0
IDLE_CONNECTIONS_MAX = 64
HOST = "127.0.0.1"


class ResponseReader(Protocol):
    """Receives the response that an upstream connection reads."""

    method: bytes
    wants_upgrade: bool

    def on_interim(self, raw: bytes) -> None:
        """Handle a 1xx response."""
        ...

    def on_head(self, status: int, head: Head, body: Body) -> bool:
        """Handle the final response's head. Returns whether the connection becomes a tunnel."""
        ...

    def on_body(self, data: bytes) -> None:
        """Handle bytes of the body or the tunnel. Empty right after a head whose body has not arrived."""
        ...

    def on_complete(self, *, reusable: bool) -> None:
        """Handle the end of the response."""
        ...

    def on_broken(self, why: str) -> None:
        """Handle a target that closed, or sent invalid HTTP, before the response was complete."""
        ...


class UpstreamConnection(ProxiedConnection):
    """One connection to a target. Serves one `ResponseReader` at a time."""

    def __init__(self, links: Links, pool: "Pool", *, node: Endpoint, target: Target) -> None:
        super().__init__(links, near=node, far=target.endpoint)
        self.pool = pool
        self.reader: ResponseReader | None = None
        self.tunnel = False
        self.idle_since = 0.0
        self._buffer = b""
        self._body: Body | None = None
        self._keeps_alive = True

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on the connection."""
        return not self.closing and self.transport is not None and not self.transport.is_closing()

    def begin(self, reader: ResponseReader) -> None:
        """Read the next response for `reader`."""
        self.reader = reader
        self.last_received_at = self.loop.time()
        self._body = None
        self._buffer = b""

    def release(self) -> None:
        """Return the connection to the pool, or close it if it cannot be reused."""
        self.reader = None
        self.unpair()
        self.pool.give(self)

    def discard(self) -> None:
        """Drop the connection without waiting for the target."""
        self.reader = None
        self.unpair()
        self.abort()

    def on_bytes(self, data: bytes) -> None:
        """Feed the current response. Unsolicited bytes end the connection."""
        if not data:
            self._on_end()
        elif self.reader is None:
            self.abort()
        elif self.tunnel:
            self.reader.on_body(data)
        elif self._body is not None:
            self._on_body(data)
        else:
            self._on_head(self._buffer + data if self._buffer else data)

    def on_reset(self) -> None:
        """Report a reset by a link rule to the reader as a reset by the target."""
        self._break("the connection was reset")

    def on_lost(self) -> None:
        """Leave the pool. The current reader gets the end of the stream through `on_bytes(b"")`."""
        self.pool.forget(self)

    def _on_head(self, data: bytes) -> None:
        reader = self.reader
        assert reader is not None
        while True:
            end = data.find(HEAD_END)
            if end < 0:
                self._buffer = data
                if len(data) > HEAD_BYTES_MAX or BARE_NEWLINE.search(data):
                    self._break(
                        f"response head over {HEAD_BYTES_MAX} bytes, or with a line that does not end with CRLF"
                    )
                return
            try:
                status, head = parse_response_head(data[:end])
                self._body = response_body(head, reader.method, status)
            except BadMessage as error:
                self._break(str(error))
                return
            if status == 101 and not reader.wants_upgrade:
                self._break("the target switched protocols without a request to do so")
                return
            if status >= 200 or status == 101:
                break
            reader.on_interim(data[: end + 4])
            self._body = None
            data = data[end + 4 :]
        self._buffer = b""
        self._keeps_alive = head.keeps_alive
        self.tunnel = reader.on_head(status, head, self._body)
        rest = data[end + 4 :]
        if self.tunnel:
            if rest:
                reader.on_body(rest)
        elif self.reader is reader:
            self._on_body(rest, flush=True)

    def _on_body(self, data: bytes, *, flush: bool = False) -> None:
        reader, body = self.reader, self._body
        assert reader is not None and body is not None
        try:
            taken = body.take(data)
        except BadMessage as error:
            self._break(str(error))
            return
        if taken or flush:
            reader.on_body(data[:taken] if taken < len(data) else data)
        if body.done and self.reader is reader:
            reader.on_complete(reusable=self._keeps_alive and taken == len(data))

    def _on_end(self) -> None:
        reader, body = self.reader, self._body
        if reader is None:
            self.close()
        elif isinstance(body, CloseBody) and not self.tunnel:
            body.done = True
            reader.on_complete(reusable=False)
        else:
            self._break("the target closed the connection")

    def _break(self, why: str) -> None:
        reader, self.reader = self.reader, None
        self.abort()
        if reader is not None:
            reader.on_broken(why)


class Pool:
    """A node's connections to one target."""

    def __init__(self, links: Links, *, node: Endpoint, target: Target) -> None:
        self._links = links
        self._node = node
        self._target = target
        self._idle: deque[UpstreamConnection] = deque()
        self.connections: set[UpstreamConnection] = set()

    def take(self) -> UpstreamConnection | None:
        """Return the most recently used idle connection that is still open, or None."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    def give(self, connection: UpstreamConnection) -> None:
        """Keep an idle connection, or close it if it cannot be kept."""
        if not connection.usable or self._target.draining or len(self._idle) >= IDLE_CONNECTIONS_MAX:
            connection.close()
            return
        connection.idle_since = connection.loop.time()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """Remove a closed connection."""
        self.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def connect(self, timeout_s: float) -> UpstreamConnection:
        """Open a connection. SYN and SYN-ACK pass the links. Raises TimeoutError, OSError or LinkReset."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            await self._links.carry(self._node, self._target.endpoint)
            _, connection = await loop.create_connection(self._build, HOST, self._target.host_port)
            self.connections.add(connection)
            try:
                await self._links.carry(self._target.endpoint, self._node)
            except BaseException:
                connection.abort()
                raise
            return connection

    def expire(self, idle_s_max: float) -> None:
        """Close connections idle for longer than `idle_s_max`, and all idle ones once the target drains."""
        now = asyncio.get_running_loop().time()
        for connection in list(self._idle):
            if self._target.draining or now - connection.idle_since > idle_s_max:
                self._idle.remove(connection)
                connection.close()

    def abort(self) -> None:
        """Drop every connection."""
        for connection in list(self.connections):
            connection.abort()

    def _build(self) -> UpstreamConnection:
        return UpstreamConnection(self._links, self, node=self._node, target=self._target)
