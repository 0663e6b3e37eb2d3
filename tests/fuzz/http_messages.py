"""Draw HTTP/1.1 messages: well-formed ones, and ones that are wrong in the ways that parsers disagree about."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

METHODS = [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"CONNECT", b"TRACE", b"PATCH", b"get", b"G@T", b""]
TARGETS = [
    b"/orders", b"/orders/o1", b"/orders/o1/cancel", b"/markets/ACME/book", b"/markets/ACME/stream", b"/healthz",
    b"/readyz", b"/", b"*", b"http://a/orders", b"a:443", b"", b"/\xc3\xa9", b"/%zz", b"/a?b#c", b"//x", b"/orders/",
    b"/a\x00b", b"/a\tb", b"/" + b"x" * 9000, b"/markets/ACME/trades?after=1&after=2", b"?", b"/\x7f", b"http://[",
]  # fmt: skip
VERSIONS = [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/0.9", b""]
LENGTHS = [
    b"0", b"3", b"5", b"100", b"+3", b"-1", b"3, 3", b"3,4", b"0x3", b"", b" ", b"3 ", b"\t3", b"3\x0b", b"9" * 15,
    b"9" * 16, b"9" * 30, b"03", b"3.0", b"\xb2", b"4_0",
]  # fmt: skip
CODINGS = [
    b"chunked", b"Chunked", b"chunked ", b"\tchunked", b"chunked, chunked", b"gzip, chunked", b"chunked, identity",
    b"identity", b"xchunked", b"", b"chunked\x0b", b"chunked;q=1", b",chunked", b"chunked,",
]  # fmt: skip
NAMES = [
    b"Content-Length", b"Transfer-Encoding", b"Content-Length ", b"Content_Length", b"Content-Length\t", b" Host",
    b"X-A", b"", b"X(A", b"X\x00A", b"X\xe9", b"Expect", b"Connection", b"Upgrade", b"Host", b"Trailer", b"TE",
    b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"X-Amzn-Trace-Id", b"X-Forwarded-For", b"transfer-encoding",
]  # fmt: skip
VALUES = [
    b"a", b"", b"close", b"keep-alive", b"upgrade", b"websocket", b"h2c", b"100-continue", b"Upgrade, close", b"[",
    b"x\x00y", b"x\ry", b"x\ny", b"x\r\n folded", b"\x7f", b"\xff", b"x" * 9000, b"13", b"dGhlIHNhbXBsZSBub25jZQ==",
    b"Root=1-a;Parent=b", b"Root=\xe9", b"Connection, Content-Length", b"chunked",
]  # fmt: skip
LINE_ENDS = [b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b" \r\n", b"\r\n\r\n"]
CHUNK_SIZES = [
    b"3", b"03", b"a", b"A", b"3 ", b" 3", b"3;a=b", b"3;a=\"b\"", b"3; a", b"0x3", b"+3", b"-3", b"", b"3\t", b"G",
    b"fffffffffffffff", b"f" * 17, b"3;\n", b"3;a\rb", b"3;" + b"x" * 9000, b"00000000000000000003",
]  # fmt: skip
BODIES = [b"", b"abc", b"{}", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"[" * 990]


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    """Draw a chunked body, mostly right."""
    body = b""
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.integers(0, 3)):
            data = draw(st.sampled_from(BODIES[1:]))
            body += b"%x\r\n%s\r\n" % (len(data), data)
        else:
            end, after = draw(st.sampled_from(LINE_ENDS)), draw(st.sampled_from(LINE_ENDS))
            body += draw(st.sampled_from(CHUNK_SIZES)) + end + b"abc" + after
    last = draw(st.sampled_from([b"0\r\n"] * 6 + [b"0\n", b"00\r\n", b"0;a\r\n", b"0 \r\n", b""]))
    trailer = draw(
        st.sampled_from([b""] * 6 + [b"X-A: b\r\n", b"Content-Length: 5\r\n", b" x\r\n", b"X\n", b"X-A: b\n"])
    )
    return body + last + trailer + draw(st.sampled_from([b"\r\n"] * 6 + [b"\n", b"", b"\rX"]))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw one request: right, or wrong in some places."""
    strange = draw(st.integers(0, 2)) == 0
    method = draw(st.sampled_from(METHODS if strange else METHODS[:5]))
    target = draw(st.sampled_from(TARGETS if strange else TARGETS[:8]))
    version = draw(st.sampled_from(VERSIONS if strange else VERSIONS[:4]))
    lines = [b"Host: a"] if draw(st.integers(0, 9)) else []
    framing = draw(st.sampled_from(["none", "length", "chunked", "strange length", "strange coding", "both"]))
    body = draw(st.sampled_from(BODIES))
    if framing in ("length", "both"):
        lines.append(b"Content-Length: %d" % len(body))
    if framing in ("chunked", "both"):
        lines.append(b"Transfer-Encoding: chunked")
    if framing == "strange length":
        lines += [b"Content-Length:" + draw(st.sampled_from(LENGTHS)) for _ in range(draw(st.integers(1, 2)))]
    if framing == "strange coding":
        lines += [b"Transfer-Encoding:" + draw(st.sampled_from(CODINGS)) for _ in range(draw(st.integers(1, 2)))]
    if framing in ("chunked", "both", "strange coding"):
        body = draw(chunked_bodies())
    for _ in range(draw(st.integers(0, 3)) if strange else 0):
        name, value = draw(st.sampled_from(NAMES)), draw(st.sampled_from(VALUES))
        lines.insert(
            draw(st.integers(0, len(lines))), name + draw(st.sampled_from([b": "] * 5 + [b":", b" : ", b""])) + value
        )
    ends = (
        [draw(st.sampled_from(LINE_ENDS)) for _ in range(len(lines) + 2)] if strange else [b"\r\n"] * (len(lines) + 2)
    )
    head = b" ".join([method, target, version]) + ends[0]
    head += b"".join(line + end for line, end in zip(lines, ends[1:], strict=False)) + ends[-1]
    return head + body


@st.composite
def raw_requests(draw: st.DrawFn) -> bytes:
    """Draw the bytes of some requests on one connection, sometimes cut off or with bytes changed."""
    data = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    change = draw(st.integers(0, 9))
    if change == 0:
        return data[: draw(st.integers(0, len(data)))]
    if change == 1:
        at = draw(st.integers(0, max(0, len(data) - 1)))
        return data[:at] + draw(st.binary(max_size=4)) + data[at + draw(st.integers(0, 4)) :]
    if change == 2:
        return (
            draw(st.sampled_from([b"\r\n", b"\n", b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b" "])) + data
        )
    return data


@st.composite
def pieces_of(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> list[bytes]:
    """Draw bytes and cut them into pieces, as they may arrive."""
    data = draw(messages)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    edges = [0, *cuts, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]
