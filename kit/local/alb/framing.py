"""Find where HTTP/1.1 bodies end.

Bodies are never decoded. The load balancer forwards the sender's framing, so a framer only counts which bytes belong to
the message. It accepts one spelling of the framing only, because what is forwarded is read again by the target.
"""

import re

from kit.local.alb.heads import FIELD_VALUE, HEAD_BYTES_MAX, TOKEN, BadMessage, Head

CHUNK_LINE_BYTES_MAX = 8 * 1024
TRAILER_BYTES_MAX = HEAD_BYTES_MAX
LENGTH_DIGITS_MAX = 15

_TOKEN = TOKEN.pattern
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,%d})(?:;%s(?:=(?:%s|%s))?)*" % (LENGTH_DIGITS_MAX, _TOKEN, _TOKEN, _QUOTED))
# In a trailer they would change the framing for a parser that merges trailers into the head.
_NOT_IN_TRAILERS = frozenset({b"content-length", b"transfer-encoding", b"host", b"trailer"})


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

    __slots__ = ("_behind_data", "_data_left", "_in_trailer", "_line", "_trailer_bytes", "done")

    def __init__(self) -> None:
        self.done = False
        self._data_left = 0
        self._behind_data = False  # The next line is the empty one that ends a chunk's data.
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
            end = newline + 1 if newline >= 0 else size
            self._line += data[at:end]
            at = end
            if len(self._line) > CHUNK_LINE_BYTES_MAX:
                raise BadMessage(f"chunk line over {CHUNK_LINE_BYTES_MAX} bytes")
            if newline >= 0:
                line, self._line = self._line, b""
                self._take_line(line)
            elif self._behind_data and not b"\r\n".startswith(self._line):
                raise BadMessage(f"{self._line[:40]!r} behind the data of a chunk")
        return at

    def _take_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise BadMessage(f"chunk line {line[:40]!r} does not end with CRLF")
        line = line[:-2]
        if self._behind_data:
            if line:
                raise BadMessage(f"{line[:40]!r} behind the data of a chunk")
            self._behind_data = False
        elif self._in_trailer:
            self._take_trailer(line)
        else:
            found = _CHUNK_LINE.fullmatch(line)
            if not found:
                raise BadMessage(f"chunk line {line[:40]!r} is not a hexadecimal size and extensions")
            self._data_left = int(found[1], 16)
            self._in_trailer = not self._data_left
            self._behind_data = bool(self._data_left)

    def _take_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > TRAILER_BYTES_MAX:
            raise BadMessage(f"trailer over {TRAILER_BYTES_MAX} bytes")
        name, colon, value = line.partition(b":")
        named = colon and TOKEN.fullmatch(name) and name.lower() not in _NOT_IN_TRAILERS
        if line and not (named and FIELD_VALUE.fullmatch(value)):
            raise BadMessage(f"trailer {line[:80]!r} is not name: value")
        self.done = not line


Body = LengthBody | ChunkedBody | CloseBody


def request_body(head: Head) -> Body:
    """Return the framer of a request's body. Raises BadMessage on ambiguous framing (request smuggling)."""
    if b"transfer-encoding" in head.read:
        return _chunked(head)
    return LengthBody(_content_length(head) or 0)


def response_body(head: Head, method: bytes, status: int) -> Body:
    """Return the framer of a response's body, by the rules of RFC 9112 section 6.3. Raises BadMessage."""
    # The fields are checked for a response without a body as well, because they are forwarded.
    length = _content_length(head)
    chunked = _chunked(head) if b"transfer-encoding" in head.read else None
    if method == b"HEAD" or status in (204, 304) or status < 200:
        return LengthBody(0)
    if chunked is not None:
        return chunked
    return CloseBody() if length is None else LengthBody(length)


def _chunked(head: Head) -> ChunkedBody:
    coding = head.read[b"transfer-encoding"]
    if coding.lower() != b"chunked" or b"content-length" in head.read or head.version != b"HTTP/1.1":
        raise BadMessage(f"transfer-encoding {coding[:40]!r}: must be chunked, in HTTP/1.1, without content-length")
    return ChunkedBody()


def _content_length(head: Head) -> int | None:
    value = head.read.get(b"content-length")
    if value is None:
        return None
    if not value.isdigit() or len(value) > LENGTH_DIGITS_MAX:
        raise BadMessage(f"content-length {value[:40]!r} is not a number of at most {LENGTH_DIGITS_MAX} digits")
    return int(value)
