"""Carry bytes in one direction of a connection, as the links let them pass.

Bytes leave a pipe in the order in which they entered, each piece after its own leg.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from kit.local.endpoints import Endpoint
from kit.local.links import LinkReset, Links

# The sender is paused above HIGH and resumed below LOW, as by a TCP window on a slow path.
PIPE_BYTES_HIGH = 64 * 1024
PIPE_BYTES_LOW = 16 * 1024
# Beyond this many pieces in transit, new bytes join the last piece. This bounds the number of asyncio tasks.
PIPE_PIECES_MAX = 32


class Pipe:
    """Carry bytes from `src` to `dst`. An empty piece marks the end of the stream."""

    __slots__ = ("_bytes", "_deliver", "_drain", "_dst", "_full", "_links", "_on_reset", "_queue", "_set_full", "_src")

    def __init__(
        self,
        links: Links,
        src: Endpoint,
        dst: Endpoint,
        *,
        deliver: Callable[[bytes], None],
        on_reset: Callable[[], None],
        set_full: Callable[[bool], None],
    ) -> None:
        self._links = links
        self._src = src
        self._dst = dst
        self._deliver = deliver
        self._on_reset = on_reset
        self._set_full = set_full
        self._full = False
        self._bytes = 0
        self._queue: deque[tuple[asyncio.Task[None], bytearray]] = deque()
        self._drain: asyncio.Task[None] | None = None

    def send(self, data: bytes) -> None:
        """Deliver `data` at once if no link rule applies, else when the links let it pass."""
        if not self._queue and self._links.is_clear(self._src, self._dst):
            self._deliver(data)
            return
        if data and len(self._queue) >= PIPE_PIECES_MAX and self._queue[-1][1]:
            self._queue[-1][1].extend(data)
        else:
            leg = asyncio.ensure_future(self._links.carry(self._src, self._dst))
            self._queue.append((leg, bytearray(data)))
        self._bytes += len(data)
        if self._bytes > PIPE_BYTES_HIGH and not self._full:
            self._full = True
            self._set_full(True)
        if self._drain is None:
            self._drain = asyncio.ensure_future(self._drain_in_order())

    def drop(self) -> None:
        """Discard everything in transit, because the connection has ended."""
        for leg, _ in self._queue:
            if not leg.cancel() and not leg.cancelled():
                # Retrieve the exception of a leg that was reset while it waited. Nobody awaits it any more.
                leg.exception()
        self._queue.clear()
        self._bytes = 0
        if self._drain is not None:
            self._drain.cancel()
            self._drain = None

    async def _drain_in_order(self) -> None:
        while self._queue:
            leg, data = self._queue[0]
            try:
                await leg
            except LinkReset:
                self._drain = None
                self.drop()
                self._on_reset()
                return
            if not self._queue:
                return
            self._queue.popleft()
            self._bytes -= len(data)
            self._deliver(bytes(data))
            if self._full and self._bytes < PIPE_BYTES_LOW:
                self._full = False
                self._set_full(False)
        self._drain = None
