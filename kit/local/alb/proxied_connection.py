"""Pass the bytes of a TCP connection through links in both directions, with backpressure."""

import asyncio
import socket
from typing import cast

from kit.local.alb.pipe import Pipe
from kit.local.endpoints import Endpoint
from kit.local.links import Links

# Reasons to pause reading from the socket, as bits. The socket is read while no bit is set.
PAUSE_PIPE_FULL = 1
PAUSE_PEER_FULL = 2
PAUSE_PIPELINE_FULL = 4
PAUSE_CONNECTING = 8
# What the load balancer and its kernel each hold of a tunnel whose far end does not read. On one host the kernel alone
# would take megabytes, so that the other end would notice a slow reader minutes later than on a network.
TUNNEL_BUFFER_BYTES = 16 * 1024
# Reasons to stop writing to this connection, as bits.
_FULL_SOCKET = 1
_FULL_PIPE = 2


class ProxiedConnection(asyncio.Protocol):
    """A TCP connection to the far end. Received bytes are passed to `on_bytes`; `write` sends bytes."""

    # True for connections to targets: the end of the stream is delayed by link rules like the bytes before it, even
    # if the target was killed. False for clients: when a client disconnects, its bytes in transit are dropped at once,
    # because they must not be applied.
    ends_through_link = True

    def __init__(self, links: Links, *, near: Endpoint, far: Endpoint) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        # Loop time at which bytes last arrived from the far end. It does not advance while the link is blackholed.
        self.last_received_at = self.loop.time()
        self.peer: ProxiedConnection | None = None
        self.closing = False
        self._lingers = False
        self._pauses = 0
        self._full = 0
        self._links = links
        self._near = near
        self.identify(far)

    def identify(self, far: Endpoint) -> None:
        """Set the endpoint at the other end, before any byte has passed."""
        self._inward = Pipe(
            self._links, far, self._near, deliver=self._receive, on_reset=self.on_reset, set_full=self._set_inward_full
        )
        self._outward = Pipe(
            self._links, self._near, far, deliver=self._send, on_reset=self.on_reset, set_full=self._set_outward_full
        )

    def on_bytes(self, data: bytes) -> None:
        """Handle bytes that arrived. Empty bytes mark the end of the stream."""
        raise NotImplementedError

    def on_lost(self) -> None:
        """Handle the end of the connection. Called once."""
        raise NotImplementedError

    def on_reset(self) -> None:
        """Handle a reset by a link rule."""
        self.abort()

    def bound_buffers(self) -> None:
        """Hold no more than `TUNNEL_BUFFER_BYTES` in each buffer of this connection from now on."""
        if self.transport is None:
            return
        self.transport.set_write_buffer_limits(high=TUNNEL_BUFFER_BYTES)
        connected = self.transport.get_extra_info("socket")
        if connected is not None:
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                connected.setsockopt(socket.SOL_SOCKET, buffer, TUNNEL_BUFFER_BYTES)

    def pair(self, peer: "ProxiedConnection") -> None:
        """Read from each connection only while the other can be written to."""
        self.peer, peer.peer = peer, self
        self.set_pause(PAUSE_PEER_FULL, bool(peer._full))
        peer.set_pause(PAUSE_PEER_FULL, bool(self._full))

    def unpair(self) -> None:
        """Undo `pair`."""
        peer, self.peer = self.peer, None
        self.set_pause(PAUSE_PEER_FULL, False)
        if peer is not None:
            peer.peer = None
            peer.set_pause(PAUSE_PEER_FULL, False)

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
        """Reset the connection now and discard all bytes in transit."""
        self.closing = True
        self._inward.drop()
        self._outward.drop()
        if self.transport is not None:
            self.transport.abort()

    def set_pause(self, reason: int, paused: bool) -> None:
        """Set or clear one reason to pause reading from the socket."""
        before = self._pauses
        self._pauses = before | reason if paused else before & ~reason
        if self.transport is None or self.transport.is_closing() or bool(before) == bool(self._pauses):
            return
        if self._pauses:
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
        self.last_received_at = self.loop.time()
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
            self.peer.set_pause(PAUSE_PEER_FULL, bool(self._full))

    def _set_inward_full(self, full: bool) -> None:
        self.set_pause(PAUSE_PIPE_FULL, full)

    def _set_outward_full(self, full: bool) -> None:
        self._set_full(_FULL_PIPE, full)
