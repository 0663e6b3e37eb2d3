"""Connections from a load balancer node to a target, and the idle ones kept for the next request.

Owns connecting, reuse and reading one response at a time. Must not know clients or rules.
"""

import asyncio
from collections import deque
from typing import Protocol

from kit.local.alb.framing import (
    HEAD_BYTES_MAX,
    HEAD_END,
    BadMessage,
    Body,
    CloseBody,
    Head,
    parse_response_head,
    response_body,
)
from kit.local.alb.proxied_connection import ProxiedConnection
from kit.local.alb.targets import Target
from kit.local.endpoints import Endpoint
from kit.local.links import Links

# Fixed on AWS as well: a target must accept a connection within ten seconds, else 504.
TARGET_CONNECT_TIMEOUT_S = 10.0
IDLE_CONNECTIONS_MAX = 64
HOST = "127.0.0.1"


class Reader(Protocol):
    """What an upstream connection tells the exchange that uses it."""

    method: bytes
    wants_upgrade: bool

    def on_interim(self, raw: bytes) -> None:
        """A 1xx response came."""
        ...

    def on_head(self, status: int, head: Head, body: Body) -> bool:
        """The final response's head came; true when the connection now becomes a tunnel."""
        ...

    def on_body(self, data: bytes) -> None:
        """Bytes of the body, or of the tunnel; empty right after a head whose body is still to come."""
        ...

    def on_complete(self, *, reusable: bool) -> None:
        """The response is complete."""
        ...

    def on_broken(self, why: str) -> None:
        """The target closed or sent garbage before the response was complete."""
        ...


class UpstreamConnection(ProxiedConnection):
    """One connection to a target; serves one `Reader` at a time."""

    def __init__(self, links: Links, pool: "Pool", *, node: Endpoint, target: Target) -> None:
        super().__init__(links, near=node, far=target.endpoint)
        self.pool = pool
        self.reader: Reader | None = None
        self.tunnel = False
        self.idle_since = 0.0
        self._buffer = b""
        self._body: Body | None = None
        self._keeps_alive = True

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return not self.closing and self.transport is not None and not self.transport.is_closing()

    def begin(self, reader: Reader) -> None:
        """Read the next response for this reader."""
        self.reader = reader
        self.heard_at = self.loop.time()
        self._body = None
        self._buffer = b""

    def release(self) -> None:
        """The reader is done with this connection: keep it, or close it if it cannot be used again."""
        self.reader = None
        self.part()
        self.pool.give(self)

    def discard(self) -> None:
        """The reader gives up: drop the connection, whatever the target is doing."""
        self.reader = None
        self.part()
        self.abort()

    def on_bytes(self, data: bytes) -> None:
        """Feed the current response; bytes that nobody asked for end the connection."""
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
        """A link rule reset the connection: the reader hears it like a reset by the target."""
        self._break("the connection was reset")

    def on_lost(self) -> None:
        """Leave the pool; a reader learns it through `on_bytes(b"")`, in order with the last bytes."""
        self.pool.forget(self)

    def _on_head(self, data: bytes) -> None:
        reader = self.reader
        assert reader is not None
        while True:
            end = data.find(HEAD_END)
            if end < 0:
                self._buffer = data
                if len(data) > HEAD_BYTES_MAX:
                    self._break(f"response head over {HEAD_BYTES_MAX} bytes")
                return
            try:
                status, head = parse_response_head(data[:end])
                self._body = response_body(head, reader.method, status)
            except BadMessage as error:
                self._break(str(error))
                return
            if status == 101 and not reader.wants_upgrade:
                self._break("the target switched protocols unasked")
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
        """The idle connection used last, if any is still open."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    def give(self, connection: UpstreamConnection) -> None:
        """Keep an idle connection."""
        if not connection.usable or self._target.draining or len(self._idle) >= IDLE_CONNECTIONS_MAX:
            connection.close()
            return
        connection.idle_since = connection.loop.time()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def connect(self, timeout_s: float) -> UpstreamConnection:
        """Open a connection: SYN and its answer pass the links. Raises TimeoutError, OSError, LinkReset."""
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
        """Close connections idle for longer, and all of them once the target drains."""
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
