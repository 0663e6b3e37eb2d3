"""A transport without a socket: what a protocol does to its connection, recorded and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class RecordingTransport(asyncio.Transport):
    """Keeps what is written. Like a socket's, it closes when its owner closes it or the peer has left."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 40000), "sockname": ("127.0.0.1", 80)})
        self.written = bytearray()
        self.protocol: Any = None
        self.eof_sent = False
        self.lost = False
        self._closing = False
        self.reading = True
        self.write_bytes_high = 0

    def connect(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol
        protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        """Deliver bytes of the peer, unless the connection is closed."""
        if not self._closing:
            self.protocol.data_received(data)

    def hang_up(self) -> None:
        """Close on the side of the peer."""
        if not self._closing and not self.protocol.eof_received():
            self.close()

    def lose(self) -> None:
        """Tell the protocol that the connection is gone, as the event loop does after a close."""
        if not self.lost:
            self.lost = self._closing = True
            self.protocol.connection_lost(None)

    def write(self, data: Any) -> None:
        if not self._closing:
            if self.eof_sent:
                raise RuntimeError("Cannot call write() after write_eof()")  # As uvloop does.
            self.written += data

    def write_eof(self) -> None:
        self.eof_sent = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self._closing = True

    abort = close

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.write_bytes_high = high or 0

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol


@contextmanager
def event_loop() -> Iterator[tuple[asyncio.AbstractEventLoop, list[str]]]:
    """Make an event loop. The list gets what its exception handler is told.

    Calls for a thread are made at once, so that a fixed number of turns is enough on any machine.
    """
    told: list[str] = []
    loop = asyncio.new_event_loop()

    def run_here(executor: Any, call: Any, *args: Any) -> asyncio.Future[Any]:
        done = loop.create_future()
        done.set_result(call(*args))
        return done

    loop.run_in_executor = run_here  # type: ignore[method-assign]
    loop.set_exception_handler(lambda _, context: told.append(repr(context.get("exception") or context["message"])))
    asyncio.set_event_loop(loop)
    try:
        yield loop, told
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


class LinkedTransport(RecordingTransport):
    """One end of a connection between two protocols of this process. `link` joins two ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self.peer: LinkedTransport | None = None

    def link(self, peer: LinkedTransport) -> None:
        self.peer, peer.peer = peer, self

    def write(self, data: Any) -> None:
        if data and not self.is_closing():
            self._on_peer(LinkedTransport.feed, bytes(data))

    def write_eof(self) -> None:
        if not self.eof_sent:
            super().write_eof()
            self._on_peer(LinkedTransport.hang_up)

    def close(self) -> None:
        if not self.is_closing():
            super().close()
            self._loop.call_soon(self.lose)
            self._on_peer(LinkedTransport.lose)

    abort = close

    def _on_peer(self, method: Any, *args: Any) -> None:
        if self.peer is not None:
            self._loop.call_soon(method, self.peer, *args)
