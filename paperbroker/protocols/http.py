"""HTTP connections: uvicorn's, with bounded heads, bodies, pipelines and times.

What a client does wrong is answered at once with 4xx, and the connection is closed. It never reaches the application.
"""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from enum import Enum
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from paperbroker.protocols import limits

_WITH_BODY = (b"content-length", b"transfer-encoding")


class _Reading(Enum):
    """What the client is to send next."""

    NOTHING_YET = 1  # No byte of the next request has arrived.
    HEAD = 2
    BODY = 3
    HANDSHAKE = 4  # The head was complete and asks for a WebSocket.


class _Refused(Exception):
    """Raised in a callback of the parser to stop it; `HttpProtocol._status` says why."""


class _Answers:
    """What a request's cycle uses of the transport. Closing it lets the client take the answer first."""

    def __init__(self, protocol: HttpProtocol) -> None:
        self._protocol = protocol

    def write(self, data: bytes) -> None:
        self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        self._protocol.close_gently()


class _Cycle(RequestResponseCycle):
    """One request and its answer."""

    async def send(self, message: Any) -> None:
        """Send a part of the answer. An answer before the request's end closes the connection."""
        if message["type"] == "http.response.start" and self.more_body:
            self.keep_alive = False
        await super().send(message)

    def give_up(self) -> None:
        """Make the application see that the client has gone, and send nothing more."""
        self.disconnected = True
        self.message_event.set()


class HttpProtocol(HttpToolsProtocol):
    """One client's HTTP connection."""

    app: Any
    parser: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading = _Reading.NOTHING_YET
        self._since_s = self.loop.time()  # When `_reading` began.
        self._bytes = 0  # Of the current head or body.
        self._message_ended = False  # In the bytes that are being parsed.
        self._status = 400
        self._active: _Cycle | None = None  # The request that is being answered.
        self._deaf = False  # Whatever else arrives is dropped.
        self._dropped = 0
        self._ends_at_s: float | None = None
        self._write_paused_at_s: float | None = None
        self._body_s = limits.BODY_S

    # Called by the transport.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > limits.CONNECTIONS_MAX:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._dropped += len(data)
            if self._dropped > limits.LINGER_BYTES_MAX:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        self._message_ended = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._on_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self.refuse(self._status)
            return
        if not self._message_ended:
            self._bytes += len(data)
        if self._reading is _Reading.HEAD and self._bytes > limits.HEAD_BYTES_MAX:
            self.refuse(431)
        elif self._reading is _Reading.BODY and self._bytes > limits.RAW_BODY_BYTES_MAX:
            self.refuse(413)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf = True
        self.pipeline.clear()
        if self._active is not None:
            self._active.give_up()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._write_paused_at_s = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._write_paused_at_s = None
        super().resume_writing()

    # Called by the sweep and by the server.

    def check(self, now_s: float) -> None:
        """End the connection if the client has taken too long."""
        if self._ends_at_s is None and self.transport.is_closing():
            self._ends_at_s = now_s + limits.CLOSE_S
        if self._ends_at_s is not None:
            if now_s > self._ends_at_s:
                self.transport.abort()
        elif self._write_paused_at_s is not None and now_s - self._write_paused_at_s > limits.SEND_STALL_S:
            self.transport.abort()
        elif now_s - self._since_s > self._wait_s():
            if self.is_idle():
                self.transport.close()
            else:
                self.refuse(408)

    def _wait_s(self) -> float:
        """Return how long the client may take for what it is to send next."""
        if self._reading is _Reading.HEAD:
            return limits.HEAD_S
        if self._reading is _Reading.BODY:
            return self._body_s
        return limits.KEEP_ALIVE_S if self.is_idle() else float("inf")

    def is_idle(self) -> bool:
        """Return whether no request has begun and none is being answered."""
        return self._reading is _Reading.NOTHING_YET and self._active is None and self._ends_at_s is None

    def shutdown(self) -> None:
        """Close once the request in progress is answered; the rest of its body must come soon."""
        if self._active is None:
            self.transport.close()
            return
        self._active.keep_alive = False
        self._body_s = limits.SHUTDOWN_BODY_S

    def refuse(self, status: int) -> None:
        """Answer what the client is sending with an error, once earlier requests are answered, and close."""
        self._deaf = True
        self.pipeline.clear()
        active = self._active
        if active is not None and (active is not self.cycle or not active.more_body or active.response_started):
            active.keep_alive = False  # It is answered, or being answered. What is refused came after it.
            return
        if active is not None:
            active.give_up()
        self.transport.write(self._refusal(status))
        self.close_gently()

    def close_gently(self) -> None:
        """Close, but first let the client finish sending and take the answer."""
        if self._reading is _Reading.NOTHING_YET and not self._deaf:
            self.transport.close()
            return
        self._deaf = True
        self._ends_at_s = self.loop.time() + limits.LINGER_S
        self.flow.resume_reading()
        if not self.transport.is_closing():
            self.transport.write_eof()

    def _make_room(self) -> None:
        """Drop the connection that has waited longest for its client: an unfinished request before an idle one."""
        http = (c for c in self.connections if isinstance(c, HttpProtocol) and c is not self)
        waiting = [c for c in http if not c.transport.is_closing() and not c.is_answering()]
        if waiting:
            min(waiting, key=lambda c: (c.is_idle(), c._since_s)).drop()
        else:
            self.transport.abort()

    def is_answering(self) -> bool:
        """Return whether the process, and not the client, has to act next."""
        return self._active is not None and not self._active.more_body and self._write_paused_at_s is None

    def drop(self) -> None:
        """Close now, with 408 if the client has begun a request and takes answers."""
        self._deaf = True
        if self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        answerable = self._ends_at_s is None and not self.is_idle()
        if self._active is not None:
            self._active.give_up()
            answerable = answerable and not self._active.response_started
        if answerable:
            self.transport.write(self._refusal(408))
        self.transport.close()

    def _refusal(self, status: int) -> bytes:
        body = json.dumps({"error": HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")}).encode()
        lines = [
            STATUS_LINE[status].rstrip(),
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
        ]
        if status == 405:
            lines.append(b"allow: GET")  # Only upgrades are refused here for their method.
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    # Called by the parser.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._read(_Reading.HEAD)
        if len(self.pipeline) >= limits.PIPELINED_MAX:
            self._stop(400)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > limits.LINE_BYTES_MAX:
            self._stop(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > limits.HEADERS_MAX or len(name) + len(value) > limits.LINE_BYTES_MAX:
            self._stop(431)

    def on_headers_complete(self) -> None:
        """Start the request, or prepare the upgrade. As uvicorn does, but with the bounds and our own cycle."""
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > limits.HEAD_BYTES_MAX:
            self._stop(431)
        version = self.parser.get_http_version()
        self.scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            self.scope["http_version"] = version
        if self.parser.should_upgrade() and self._should_upgrade():
            self._check_handshake(version)
            self._read(_Reading.HANDSHAKE)
            return
        url = httptools.parse_url(self.url)
        if not url.path:
            self._stop(400)
        self.scope["raw_path"] = url.path
        self.scope["path"] = urllib.parse.unquote(url.path.decode("ascii"))
        self.scope["query_string"] = url.query or b""
        self._read(_Reading.BODY)
        cycle = self._new_cycle(keep_alive=version != "1.0" and self.parser.should_keep_alive())
        self.cycle = cycle
        if self._active is None:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        if self._reading is _Reading.BODY:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._message_ended = True
        if self._reading is _Reading.HANDSHAKE:
            return
        super().on_message_complete()
        self._read(_Reading.NOTHING_YET)

    def on_response_complete(self) -> None:
        """Go on with the next pipelined request, or wait for one."""
        self._active = None
        if self._reading is _Reading.NOTHING_YET:
            self._since_s = self.loop.time()
        if self._ends_at_s is not None:
            self.server_state.total_requests += 1
            return
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._active = cast(_Cycle, cycle)
        super()._start_asgi_task(cycle, app)

    def _new_cycle(self, *, keep_alive: bool) -> _Cycle:
        return _Cycle(
            scope=self.scope,
            transport=cast(asyncio.Transport, _Answers(self)),
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )

    def _read(self, what: _Reading) -> None:
        self._reading = what
        self._since_s = self.loop.time()
        self._bytes = 0

    def _stop(self, status: int) -> None:
        """Stop the parser and refuse the request."""
        self._status = status
        raise _Refused

    def _check_handshake(self, version: str) -> None:
        """Refuse an upgrade that `websockets` would not parse: it would never be answered."""
        if self.scope["method"] != "GET":
            self._stop(405)
        names = {name for name, _ in self.headers}
        if version != "1.1" or not self.url.isascii() or not names.isdisjoint(_WITH_BODY) or self._active is not None:
            self._stop(400)

    def _on_upgrade(self, rest: bytes) -> None:
        if self._reading is _Reading.HANDSHAKE:
            self._hand_over(rest)
        else:
            # Another protocol was offered, and is not taken. Its bytes may follow, so there is no next request.
            self._deaf = True
            if self._active is not None:
                self._active.keep_alive = False

    def _hand_over(self, rest: bytes) -> None:
        """Go on as a WebSocket."""
        self.connections.discard(self)
        head = [b"GET ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            head += [name, b": ", value, b"\r\n"]
        head.append(b"\r\n")
        make: Any = self.ws_protocol_class
        protocol = make(config=self.config, server_state=self.server_state, app_state=self.app_state)
        protocol.connection_made(self.transport)
        if self._write_paused_at_s is not None:
            protocol.pause_writing()
        self.transport.set_protocol(protocol)
        protocol.data_received(b"".join(head))
        if rest:
            protocol.data_received(rest)
