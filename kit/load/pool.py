"""Pool keep-alive connections to one host, with one request at a time on each.

A request takes an idle connection or opens a new one, up to a bound. It never waits for a busy connection, because a
queue in the client would hide the server's slowness from the measured latency.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Protocol, cast

import httptools

from kit.load.http_attempt import Attempt
from kit.load.retry import EOF, PROTOCOL, REFUSED, RESET, retry_after_s

RESOLVE_S = 3.0  # how long a DNS answer is used
CONNECTION_AGE_S_MAX = 30.0  # older connections are replaced when idle, so that clients follow changes in DNS
REPLY_BYTES_MAX = 64 * 1024
RETRY_AFTER = b"retry-after"


class Listener(Protocol):
    """Receives the result of each attempt, once."""

    def answered(self, attempt: Attempt, status: int, body: bytes) -> None: ...

    def lost(self, attempt: Attempt, error: str) -> None: ...


class Connection(asyncio.Protocol):
    """One TCP connection. `attempt` is the request that it carries; None while it is idle."""

    __slots__ = (
        "_body",
        "_body_size",
        "_parser",
        "_pool",
        "_retry_after",
        "attempt",
        "closed",
        "opened_s",
        "transport",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._body_size = 0
        self._retry_after = b""
        self.attempt: Attempt | None = None
        # True until the pool has taken the connection over, so that a cancelled dial is not counted twice.
        self.closed = True
        self.opened_s = time.monotonic()
        self.transport: asyncio.Transport | None = None

    def send(self, attempt: Attempt, payload: bytes) -> None:
        assert self.transport is not None and self.attempt is None
        self.attempt = attempt
        attempt.connection = self
        self.transport.write(payload)

    def drop(self) -> None:
        """Abort the connection without a report to the listener."""
        self.attempt = None
        self._close()
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transport has no such base class

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(PROTOCOL)
            return
        if self._body_size > REPLY_BYTES_MAX:
            self._fail(PROTOCOL)

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == len(RETRY_AFTER) and name.lower() == RETRY_AFTER:
            self._retry_after = value

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size <= REPLY_BYTES_MAX:
            self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return  # The answer follows an interim response (1xx).
        body, retry_after = b"".join(self._body), self._retry_after
        self._body.clear()
        self._body_size = 0
        self._retry_after = b""
        attempt, self.attempt = self.attempt, None
        keep = self._parser.should_keep_alive()
        if attempt is None or not keep:
            # After an unsolicited answer, later answers could no longer be matched with their requests.
            self._close()
            if self.transport is not None:
                self.transport.close()
        else:
            self._pool.idle.append(self)
        if attempt is not None:
            attempt.connection = None
            if retry_after:
                attempt.retry_after_s = retry_after_s(status, retry_after)
            self._pool.listener.answered(attempt, status, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(RESET if exc is not None else EOF)

    def _fail(self, error: str) -> None:
        attempt, self.attempt = self.attempt, None
        self._close()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()
        if attempt is not None:
            attempt.connection = None
            self._pool.listener.lost(attempt, error)

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            self._pool.forget(self)


class Pool:
    """At most `connections_max` connections, including those being opened."""

    __slots__ = ("_addresses", "_dials", "_loop", "_max", "count", "idle", "listener", "opened")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, host: str, port: int, connections_max: int) -> None:
        self._loop = loop
        self._addresses = Addresses(loop, host, port)
        self._max = connections_max
        self._dials: set[asyncio.Task[None]] = set()
        self.idle: list[Connection] = []  # last used last, so that few connections stay in use and the others age out
        self.listener: Listener
        self.count = 0
        self.opened = 0

    def send(self, attempt: Attempt, payload: bytes) -> bool:
        """Send now, on an idle or a new connection; False if all connections are in use."""
        if (connection := self._take()) is not None:
            connection.send(attempt, payload)
            return True
        if self.count >= self._max:
            return False
        self.count += 1
        task = self._loop.create_task(self._dial(attempt, payload))
        attempt.dial = task
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)
        return True

    def give_up(self, attempt: Attempt) -> None:
        """Abort the connection of an attempt, or the dial, in which case its request is never sent."""
        if attempt.dial is not None:
            attempt.dial.cancel()
        elif attempt.connection is not None:
            attempt.connection.drop()
            attempt.connection = None

    def forget(self, connection: Connection) -> None:
        self.count -= 1
        if connection in self.idle:
            self.idle.remove(connection)

    def close(self) -> None:
        for connection in tuple(self.idle):
            connection.drop()

    def _take(self) -> Connection | None:
        oldest_s = time.monotonic() - CONNECTION_AGE_S_MAX
        while self.idle:
            connection = self.idle.pop()
            transport = connection.transport
            if transport is not None and not transport.is_closing() and connection.opened_s > oldest_s:
                return connection
            connection.drop()
        return None

    async def _dial(self, attempt: Attempt, payload: bytes) -> None:
        connection: Connection | None = None
        try:
            host, port = await self._addresses.next()
            transport, connection = await self._loop.create_connection(lambda: Connection(self), host, port)
            if transport.is_closing():
                connection = None
        except OSError:
            connection = None
        finally:
            attempt.dial = None
            if connection is None:
                self.count -= 1
        if connection is None:
            # The request was not sent: the name was not found, or the host refused or was unreachable.
            self.listener.lost(attempt, REFUSED)
            return
        connection.closed = False
        self.opened += 1
        connection.send(attempt, payload)


class Addresses:
    """Return the addresses of a host name in turn, and resolve it again after `RESOLVE_S`."""

    __slots__ = ("_addresses", "_host", "_loop", "_port", "_resolved_s", "_turn")

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        self._loop = loop
        self._host, self._port = host, port
        self._addresses: list[tuple[str, int]] = []
        self._resolved_s = 0.0
        self._turn = 0

    async def next(self) -> tuple[str, int]:
        now = time.monotonic()
        if not self._addresses or now - self._resolved_s > RESOLVE_S:
            answers = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._addresses = [(str(answer[4][0]), int(answer[4][1])) for answer in answers]
            self._resolved_s = now
        self._turn += 1
        return self._addresses[self._turn % len(self._addresses)]
