"""Read HTTP/1.1 messages with h11 and httptools, as a target or a client of the load balancer may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
import httptools

# h11 bounds the head; ours has other bounds.
H11_HEAD_BYTES_MAX = 1 << 20


class Refused(Exception):
    """The reader does not accept all bytes. `messages` are those before; after an upgrade it reads no more."""

    def __init__(self, why: str, messages: list[Message], *, upgraded: bool = False) -> None:
        super().__init__(why)
        self.messages = messages
        self.upgraded = upgraded


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One complete request or response: method and target, or status; and the decoded body."""

    start: tuple[bytes, ...]
    body: bytes


# A reader returns the complete messages, and whether the bytes end within another one. Raises Refused.
Reader = Callable[[bytes], tuple[list[Message], bool]]


def h11_requests(data: bytes) -> tuple[list[Message], bool]:
    """Read requests with h11, one connection each. Empty lines before a request are skipped (RFC 9112 section 2.2)."""
    messages: list[Message] = []
    while data := data.lstrip(b"\r\n"):
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=H11_HEAD_BYTES_MAX)
        connection.receive_data(data)
        try:
            found = _h11_request(connection)
        except h11.RemoteProtocolError as exc:
            raise Refused(f"h11: {exc}", messages) from exc
        if found is None:
            return messages, True
        messages.append(found)
        data = connection.trailing_data[0]
    return messages, False


def _h11_request(connection: h11.Connection) -> Message | None:
    """Return the request if it is complete."""
    start, body = (), b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            start = (event.method, event.target)
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return Message(start=start, body=body)
        else:
            return None


def h11_response(data: bytes) -> tuple[list[Message], bool]:
    """Read the response to a GET with h11; interim responses are skipped."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=H11_HEAD_BYTES_MAX)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    status, body = 0, b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return [], True
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                rest = bool(connection.trailing_data[0])
                return [Message(start=(b"%d" % status,), body=body)], rest
    except h11.RemoteProtocolError as exc:
        raise Refused(f"h11: {exc}", []) from exc


class _Collector:
    """Callbacks of an httptools parser."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.parser: Any = None
        self.is_open = False
        self._url = b""
        self._body = b""

    def on_message_begin(self) -> None:
        self._url = self._body = b""
        self.is_open = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if isinstance(self.parser, httptools.HttpRequestParser):
            start = (self.parser.get_method(), self._url)
        else:
            start = (b"%d" % self.parser.get_status_code(),)
        self.messages.append(Message(start=start, body=self._body))
        self.is_open = False


def httptools_requests(data: bytes) -> tuple[list[Message], bool]:
    """Read requests with httptools, as uvicorn does."""
    found = _Collector()
    found.parser = httptools.HttpRequestParser(found)
    return _feed(found, data)


def httptools_response(data: bytes) -> tuple[list[Message], bool]:
    """Read a response with httptools."""
    found = _Collector()
    found.parser = httptools.HttpResponseParser(found)
    return _feed(found, data)


def _feed(found: _Collector, data: bytes) -> tuple[list[Message], bool]:
    try:
        found.parser.feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        if upgrade.args[0] < len(data):
            raise Refused("httptools: another protocol", found.messages, upgraded=True) from upgrade
    except httptools.HttpParserError as exc:
        raise Refused(f"httptools: {exc}", found.messages) from exc
    return found.messages, found.is_open


REQUEST_READERS: dict[str, Reader] = {"h11": h11_requests, "httptools": httptools_requests}
RESPONSE_READERS: dict[str, Reader] = {"h11": h11_response, "httptools": httptools_response}
