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

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol


@contextmanager
def event_loop() -> Iterator[tuple[asyncio.AbstractEventLoop, list[str]]]:
    """Make an event loop. The list gets what its exception handler is told."""
    told: list[str] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: told.append(repr(context.get("exception") or context["message"])))
    asyncio.set_event_loop(loop)
    try:
        yield loop, told
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
