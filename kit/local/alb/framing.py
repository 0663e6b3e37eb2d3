"""Parse HTTP/1.1 heads, and find where bodies end.

Bodies are never decoded. The load balancer forwards the sender's framing, so a framer only counts which bytes belong to
the message.
"""

import re
from dataclasses import dataclass, field

from kit.errors import KitError

HEAD_END = b"\r\n\r\n"
# The limits of an Application Load Balancer: 16 KB request line, 64 KB header.
REQUEST_LINE_BYTES_MAX = 16 * 1024
HEAD_BYTES_MAX = 64 * 1024
CHUNK_LINE_BYTES_MAX = 8 * 1024
TRAILER_BYTES_MAX = HEAD_BYTES_MAX

_HEX = re.compile(rb"[0-9A-Fa-f]{1,15}")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
# Fields that the load balancer reads, drops or rewrites. Every other line is forwarded unchanged.
_READ = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"upgrade",
        b"content-length",
        b"transfer-encoding",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-amzn-trace-id",
    }
)
_PASSED_TOO = frozenset({b"content-length", b"transfer-encoding"})


class BadMessage(KitError):
    """The peer sent a message that is not HTTP/1.x or exceeds the limits."""


@dataclass(slots=True)
class Head:
    """A parsed head: the start line's three parts, the lines to forward, and the fields that are read."""

    start: tuple[bytes, bytes, bytes]
    passed: list[bytes] = field(default_factory=list)
    read: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def keeps_alive(self) -> bool:
        """Whether the sender allows another message on its connection."""
        connection = self.read.get(b"connection", b"").lower()
        if b"close" in connection:
            return False
        version = self.start[2] if self.start[2] in _VERSIONS else self.start[0]
        return version == b"HTTP/1.1" or b"keep-alive" in connection

    @property
    def upgrade(self) -> bytes:
        """The requested protocol, or empty. A load balancer upgrades to WebSocket only."""
        if b"upgrade" not in self.read.get(b"connection", b"").lower():
            return b""
        wanted = self.read.get(b"upgrade", b"")
        return wanted if wanted.lower() == b"websocket" else b""


def parse_request_head(raw: bytes) -> Head:
    """Parse the bytes before the blank line. Raises BadMessage."""
    lines = raw.split(b"\r\n")
    start = lines[0].split(b" ")
    if len(start) != 3 or start[2] not in _VERSIONS or not start[1] or not _TOKEN.fullmatch(start[0]):
        raise BadMessage(f"request line {lines[0][:80]!r} is not METHOD target HTTP/1.x")
    return _parse_fields(Head((start[0], start[1], start[2])), lines)


def parse_response_head(raw: bytes) -> tuple[int, Head]:
    """Parse status and fields of a response. Raises BadMessage."""
    lines = raw.split(b"\r\n")
    version, _, rest = lines[0].partition(b" ")
    code, _, reason = rest.partition(b" ")
    if version not in _VERSIONS or len(code) != 3 or not code.isdigit() or code < b"100":
        raise BadMessage(f"status line {lines[0][:80]!r} is not HTTP/1.x NNN reason")
    return int(code), _parse_fields(Head((version, code, reason)), lines)


def _parse_fields(head: Head, lines: list[bytes]) -> Head:
    passed, read = head.passed, head.read
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise BadMessage(f"header line {line[:80]!r} has no field name")
        lower = name.lower()
        if lower not in _READ:
            passed.append(line)
            continue
        value = value.strip()
        if lower in read:
            if lower == b"content-length" and read[lower] != value:
                raise BadMessage(f"content-length is both {read[lower][:20]!r} and {value[:20]!r}")
            if lower == b"content-length":
                continue
            read[lower] += b", " + value
        else:
            read[lower] = value
        if lower in _PASSED_TOO:
            passed.append(line)
    return head


class LengthBody:
    """A body of a known number of bytes."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    @property
    def done(self) -> bool:
        """Whether the last byte of the body was taken."""
        return self.left == 0

    def take(self, data: bytes) -> int:
        """Return how many of these bytes belong to the body."""
        taken = min(self.left, len(data))
        self.left -= taken
        return taken


class CloseBody:
    """A response body that ends when the connection does."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def take(self, data: bytes) -> int:
        """Return the number of bytes: all belong to the body."""
        return len(data)


class ChunkedBody:
    """A chunked body. Finds its end without decoding it."""

    __slots__ = ("_data_left", "_in_trailer", "_line", "_trailer_bytes", "done")

    def __init__(self) -> None:
        self.done = False
        self._data_left = 0
        self._in_trailer = False
        self._line = b""
        self._trailer_bytes = 0

    def take(self, data: bytes) -> int:
        """Return how many of these bytes belong to the body. Raises BadMessage."""
        at, size = 0, len(data)
        while at < size and not self.done:
            if self._data_left:
                step = min(self._data_left, size - at)
                self._data_left -= step
                at += step
                continue
            newline = data.find(b"\n", at)
            if newline < 0:
                self._line += data[at:]
                self._check_line_bytes()
                return size
            line = (self._line + data[at:newline]).strip()
            self._line = b""
            at = newline + 1
            self._take_line(line)
        return at

    def _take_line(self, line: bytes) -> None:
        if self._in_trailer:
            self._trailer_bytes += len(line)
            self._check_line_bytes()
            self.done = not line
            return
        digits = line.partition(b";")[0].strip()
        if not _HEX.fullmatch(digits):
            raise BadMessage(f"chunk size {line[:40]!r} is not hexadecimal")
        length = int(digits, 16)
        self._in_trailer = length == 0
        self._data_left = length + 2 if length else 0

    def _check_line_bytes(self) -> None:
        if len(self._line) > CHUNK_LINE_BYTES_MAX or self._trailer_bytes > TRAILER_BYTES_MAX:
            raise BadMessage(f"chunk line or trailer over {CHUNK_LINE_BYTES_MAX} bytes")


Body = LengthBody | ChunkedBody | CloseBody


def request_body(head: Head) -> Body:
    """Return the framer of a request's body. Raises BadMessage on ambiguous framing (request smuggling)."""
    if b"transfer-encoding" in head.read:
        if b"content-length" in head.read or head.read[b"transfer-encoding"].lower() != b"chunked":
            raise BadMessage("transfer-encoding must be chunked and exclude content-length")
        return ChunkedBody()
    return LengthBody(_content_length(head) or 0)


def response_body(head: Head, method: bytes, status: int) -> Body:
    """Return the framer of a response's body, by the rules of RFC 9112 section 6.3."""
    if method == b"HEAD" or status in (204, 304) or status < 200:
        return LengthBody(0)
    if head.read.get(b"transfer-encoding", b"").lower().endswith(b"chunked"):
        return ChunkedBody()
    length = _content_length(head)
    return CloseBody() if length is None else LengthBody(length)


def _content_length(head: Head) -> int | None:
    value = head.read.get(b"content-length")
    if value is None:
        return None
    if not value.isdigit() or len(value) > 15:
        raise BadMessage(f"content-length {value[:40]!r} is not a number")
    return int(value)
