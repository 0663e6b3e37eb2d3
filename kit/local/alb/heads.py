"""Parse HTTP/1.1 heads as strictly as RFC 9112 allows.

What two parsers could read in different ways is refused: a target must see the same requests as the load balancer
(request smuggling).
"""

import re
from dataclasses import dataclass, field

from kit.errors import KitError

HEAD_END = b"\r\n\r\n"
# The limits of an Application Load Balancer: 16 KB request line, 16 KB a header line, 64 KB header.
LINE_BYTES_MAX = 16 * 1024
HEAD_BYTES_MAX = 64 * 1024
FORWARDED_FOR_MAX = 30  # IP addresses in X-Forwarded-For; with more, AWS answers 463.

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# No control characters: a bare CR or LF ends a line for some parsers.
FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
# A line that does not end with CRLF.
BARE_NEWLINE = re.compile(rb"(?<!\r)\n")
# A path, or an absolute URL. `*` is for OPTIONS only.
_TARGET = re.compile(rb"(?:/|https?://[A-Za-z0-9.:_-]+(?=[/?]|$))[\x21-\x7e]*")
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
# Fields that the load balancer reads, drops or rewrites. Every other line is forwarded unchanged.
_READ = frozenset(
    {
        b"connection",
        b"host",
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
_PASSED_TOO = frozenset({b"content-length", b"transfer-encoding", b"host"})
# They say where a message goes and where it ends, so each is given once, in one spelling.
_ONCE = frozenset({b"content-length", b"host"})


class BadMessage(KitError):
    """The peer sent a message that is not HTTP/1.x or exceeds the limits. `status` is the answer to a request."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Head:
    """A parsed head: the start line's three parts, the lines to forward, and the fields that are read."""

    start: tuple[bytes, bytes, bytes]
    passed: list[bytes] = field(default_factory=list)
    read: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def version(self) -> bytes:
        """The HTTP version, which a request has last and a response first."""
        return self.start[2] if self.start[2] in _VERSIONS else self.start[0]

    @property
    def keeps_alive(self) -> bool:
        """Whether the sender allows another message on its connection."""
        options = self._connection_options()
        return b"close" not in options and (self.version == b"HTTP/1.1" or b"keep-alive" in options)

    @property
    def upgrade(self) -> bytes:
        """The requested protocol, or empty. A load balancer upgrades to WebSocket only."""
        if b"upgrade" not in self._connection_options():
            return b""
        wanted = self.read.get(b"upgrade", b"")
        return wanted if wanted.lower() == b"websocket" else b""

    def _connection_options(self) -> list[bytes]:
        return [option.strip() for option in self.read.get(b"connection", b"").lower().split(b",")]


def parse_request_head(raw: bytes) -> Head:
    """Parse the bytes before the blank line. Raises BadMessage."""
    lines = raw.split(b"\r\n")
    start = lines[0].split(b" ")
    if len(lines[0]) > LINE_BYTES_MAX:
        raise BadMessage(f"request line of {len(lines[0])} bytes, at most {LINE_BYTES_MAX}", 414)
    if len(start) != 3 or start[2] not in _VERSIONS or not TOKEN.fullmatch(start[0]):
        raise BadMessage(f"request line {lines[0][:80]!r} is not METHOD target HTTP/1.x")
    if start[0] == b"TRACE":
        raise BadMessage("TRACE is not allowed, as on AWS", 405)
    if start[0] == b"CONNECT" or not (_TARGET.fullmatch(start[1]) or start[:2] == [b"OPTIONS", b"*"]):
        raise BadMessage(f"target {start[1][:80]!r} of {start[0][:20]!r} is neither a path nor a URL")
    head = _parse_fields(Head((start[0], start[1], start[2])), lines)
    if start[2] == b"HTTP/1.1" and b"host" not in head.read:
        raise BadMessage("an HTTP/1.1 request without a Host field")
    if head.read.get(b"x-forwarded-for", b"").count(b",") >= FORWARDED_FOR_MAX:
        raise BadMessage(f"more than {FORWARDED_FOR_MAX} addresses in X-Forwarded-For", 463)
    return head


def parse_response_head(raw: bytes) -> tuple[int, Head]:
    """Parse status and fields of a response. Raises BadMessage."""
    lines = raw.split(b"\r\n")
    version, _, rest = lines[0].partition(b" ")
    code, _, reason = rest.partition(b" ")
    known = version in _VERSIONS and len(code) == 3 and code.isdigit() and code >= b"100"
    if not known or not FIELD_VALUE.fullmatch(reason):
        raise BadMessage(f"status line {lines[0][:80]!r} is not HTTP/1.x NNN reason")
    return int(code), _parse_fields(Head((version, code, reason)), lines)


def _parse_fields(head: Head, lines: list[bytes]) -> Head:
    passed, read = head.passed, head.read
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name) or not FIELD_VALUE.fullmatch(value):
            raise BadMessage(f"header line {line[:80]!r} is not name: value")
        if len(line) > LINE_BYTES_MAX:
            raise BadMessage(f"header line {line[:80]!r} of {len(line)} bytes, at most {LINE_BYTES_MAX}")
        lower = name.lower()
        if lower not in _READ:
            passed.append(line)
            continue
        if lower in _PASSED_TOO and b"\t" in value:
            raise BadMessage(f"header line {line[:80]!r} with a tab")
        value = value.strip(b" \t")
        if lower in read:
            if lower in _ONCE:
                raise BadMessage(f"{lower.decode()} is given twice, {read[lower][:20]!r} and {value[:20]!r}")
            read[lower] += b", " + value
        else:
            read[lower] = value
        if lower in _PASSED_TOO:
            passed.append(line)
    return head
