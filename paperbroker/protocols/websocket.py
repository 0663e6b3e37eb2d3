"""WebSocket connections: uvicorn's, for streams in one direction, with bounded frames, buffers and times.

Messages of a subscriber are not for anybody: they are counted and dropped.
"""

from __future__ import annotations

import socket
from asyncio import BaseTransport
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request

from paperbroker.protocols import limits

# So many bytes are parsed before the rate is checked again: the smallest frame has 6.
_SLICE_BYTES = 1024
_UNPARSED = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 22\r\nconnection: close\r\n\r\n"
    b'{"error":"BadRequest"}'
)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One subscriber's connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ahead = b""  # What the client sent before its handshake was answered.
        self._second = 0  # The current second of the loop's clock, and the frames in it.
        self._frames = 0
        self._deaf = False
        self._dropped = 0
        self._ends_at_s: float | None = None
        self._write_paused_at_s: float | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Bound what is held for a subscriber that does not read."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=limits.STREAM_BUFFER_BYTES)
        connected = transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.STREAM_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and not self.handshake_complete:
            self._ahead += data  # One read of the socket at most.
            self.transport.pause_reading()
            return
        for at in range(0, len(data), _SLICE_BYTES):
            if self._deaf or self.transport.is_closing():
                self._drop(len(data) - at)
                return
            self._take(data[at : at + _SLICE_BYTES])

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > limits.LINGER_BYTES_MAX:
            self.transport.abort()

    def _take(self, data: bytes) -> None:
        self.conn.receive_data(data)
        if self.conn.handshake_exc is not None:
            self.transport.write(b"".join(self.conn.data_to_send()) or _UNPARSED)
            self._linger()
        elif self.conn.parser_exc is not None:
            self.handle_parser_exception()
        else:
            self.handle_events()

    def handle_events(self) -> None:
        for event in self.conn.events_received():
            if self._deaf:
                return
            if isinstance(event, Request):
                self.handle_connect(event)
            elif isinstance(event, Frame):
                self._handle_frame(event)

    def _handle_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.handle_close(frame)
        elif self._is_too_fast():
            self.conn.fail(CloseCode.POLICY_VIOLATION, f"more than {limits.FRAMES_PER_S_MAX} frames a second")
            self.handle_parser_exception()
        elif frame.opcode is Opcode.PING and self.close_sent:
            self.conn.data_to_send()  # The pong. Nothing follows a close frame.
        elif frame.opcode is Opcode.PING:
            self.handle_ping()
        elif frame.opcode is Opcode.PONG:
            self.handle_pong(frame)

    def handle_parser_exception(self) -> None:
        """Tell the application, send the close frame that the parser has made, and let the client take it."""
        close = self.conn.close_sent
        code, reason = (close.code, close.reason) if close is not None else (CloseCode.ABNORMAL_CLOSURE, "")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._linger()

    async def send(self, message: Any) -> None:
        """Send a message of the application; after the handshake, read what the client sent ahead."""
        await self.writable.wait()
        if self.close_sent or self.transport.is_closing():  # While the application had a message to send.
            raise ClientDisconnected
        await super().send(message)
        if self._ahead and self.handshake_complete:
            data, self._ahead = self._ahead, b""
            self.data_received(data)
            self._resume_reading()

    def pause_writing(self) -> None:
        """Read no more until the client reads: it may be pings whose pongs fill the buffer."""
        super().pause_writing()
        self._write_paused_at_s = self.loop.time()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._write_paused_at_s = None
        self._resume_reading()

    def check(self, now_s: float) -> None:
        """End the connection if the client has taken too long."""
        if self._ends_at_s is None and self.transport.is_closing():
            self._ends_at_s = now_s + limits.CLOSE_S
        stalled = self._write_paused_at_s is not None and now_s - self._write_paused_at_s > limits.STREAM_STALL_S
        if stalled or (self._ends_at_s is not None and now_s > self._ends_at_s):
            self.transport.abort()

    def _resume_reading(self) -> None:
        if self._write_paused_at_s is None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _is_too_fast(self) -> bool:
        second = int(self.loop.time())
        self._frames = self._frames + 1 if second == self._second else 1
        self._second = second
        return self._frames > limits.FRAMES_PER_S_MAX

    def _linger(self) -> None:
        """Drop what still comes, and close when the client does, or after LINGER_S."""
        self._deaf = True
        self.stop_keepalive()
        self._ends_at_s = self.loop.time() + limits.LINGER_S
        if self.close_timer is None:  # uvicorn closes at once when the application ends and no timer runs.
            self.close_timer = self.loop.call_later(limits.LINGER_S, self.transport.abort)
        if not self.transport.is_closing():
            self.transport.write_eof()
