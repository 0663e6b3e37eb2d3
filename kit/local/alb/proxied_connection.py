"""Pass the bytes of a TCP connection through links in both directions, with backpressure."""

import asyncio
from typing import cast

from kit.local.alb.pipe import Pipe
from kit.local.endpoints import Endpoint
from kit.local.links import Links

# Reasons to pause reading. The socket is read while none of them holds.
HOLD_PIPE = 1
HOLD_PEER = 2
HOLD_PIPELINE = 4
HOLD_CONNECT = 8
# Reasons not to write more.
_FULL_SOCKET = 1
_FULL_PIPE = 2


class ProxiedConnection(asyncio.Protocol):
    """A connection to the far end. Its bytes reach `on_bytes`; `write` sends bytes to it."""

    # The end of a target's stream passes the link like its bytes, however the target died. A client that hung up
    # is gone at once: its bytes in transit must not be applied.
    ends_through_link = True

    def __init__(self, links: Links, *, near: Endpoint, far: Endpoint) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        # Loop time at which bytes last arrived from the far end. A blackholed connection falls silent.
        self.heard_at = self.loop.time()
        self.peer: ProxiedConnection | None = None
        self.closing = False
        self._lingers = False
        self._holds = 0
        self._full = 0
        self._inward = Pipe(links, far, near, deliver=self._receive, broke=self.on_reset, hold=self._set_inward_full)
        self._outward = Pipe(links, near, far, deliver=self._send, broke=self.on_reset, hold=self._set_outward_full)

    def on_bytes(self, data: bytes) -> None:
        """Handle bytes that arrived. Empty bytes mark the end of the stream."""
        raise NotImplementedError

    def on_lost(self) -> None:
        """Handle the end of the connection. Called once."""
        raise NotImplementedError

    def on_reset(self) -> None:
        """Handle a reset by a link rule."""
        self.abort()

    def pair(self, peer: "ProxiedConnection") -> None:
        """Read from each connection only while the other can be written to."""
        self.peer, peer.peer = peer, self
        self.hold(HOLD_PEER, bool(peer._full))
        peer.hold(HOLD_PEER, bool(self._full))

    def unpair(self) -> None:
        """Undo `pair`."""
        peer, self.peer = self.peer, None
        self.hold(HOLD_PEER, False)
        if peer is not None:
            peer.peer = None
            peer.hold(HOLD_PEER, False)

    def write(self, data: bytes) -> None:
        """Send bytes after everything sent before."""
        if not self.closing:
            self._outward.send(data)

    def close(self, *, linger: bool = False) -> None:
        """Close after everything sent so far has left.

        With `linger` only the sending side closes, and bytes that still arrive are read and dropped. The kernel
        discards an answer that was just written when a socket with unread bytes is closed.
        """
        if not self.closing:
            self.closing = True
            self._lingers = linger
            self._outward.send(b"")

    def abort(self) -> None:
        """Drop the connection and all bytes in transit now. The far end sees a reset."""
        self.closing = True
        self._inward.drop()
        self._outward.drop()
        if self.transport is not None:
            self.transport.abort()

    def hold(self, reason: int, held: bool) -> None:
        """Set or clear one reason to pause reading."""
        before = self._holds
        self._holds = before | reason if held else before & ~reason
        if self.transport is None or self.transport.is_closing() or bool(before) == bool(self._holds):
            return
        if self._holds:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    # The methods of asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._inward.send(data)

    def eof_received(self) -> bool:
        if self.ends_through_link:
            self._inward.send(b"")
        return self.ends_through_link

    def connection_lost(self, exc: Exception | None) -> None:
        self._outward.drop()
        if self.ends_through_link and not self.closing:
            self._inward.send(b"")
        else:
            self._inward.drop()
        self.closing = True
        self.unpair()
        self.on_lost()

    def pause_writing(self) -> None:
        self._set_full(_FULL_SOCKET, True)

    def resume_writing(self) -> None:
        self._set_full(_FULL_SOCKET, False)

    def _receive(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        self.on_bytes(data)

    def _send(self, data: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if data:
            self.transport.write(data)
        elif self._lingers:
            self.transport.write_eof()
        else:
            self.transport.close()

    def _set_full(self, reason: int, full: bool) -> None:
        self._full = self._full | reason if full else self._full & ~reason
        if self.peer is not None:
            self.peer.hold(HOLD_PEER, bool(self._full))

    def _set_inward_full(self, full: bool) -> None:
        self.hold(HOLD_PIPE, full)

    def _set_outward_full(self, full: bool) -> None:
        self._set_full(_FULL_PIPE, full)
