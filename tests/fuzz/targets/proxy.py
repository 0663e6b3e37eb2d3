"""The local load balancer between clients and targets: request smuggling, response splitting, framing.

h11 and httptools read what the load balancer forwards, and what it was sent. Each message that is forwarded as one is
one for both of them, with the same method, target and body; what they refuse is not forwarded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.alb_connection import Passed, Proxy, proxy
from tests.fuzz.http_messages import LINE_ENDS, chunked_bodies, pieces_of, raw_requests
from tests.fuzz.http_readers import REQUEST_READERS, RESPONSE_READERS, Refused
from tests.fuzz.runner import Check, Target

TRACE_ID = re.compile(rb"X-Amzn-Trace-Id: [^\r]*\r\n")
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OWN_STATUSES = {400, 405, 408, 414, 463}
# httptools knows a list of methods; any token is one.
METHODS = {b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH"}
STATUS_LINES = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 404 Not Found", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 X", b"HTTP/1.1 100 Continue", b"HTTP/1.1 101 X", b"HTTP/1.1 99 X", b"HTTP/1.1 2000 X", b"HTTP/1.1",
    b"HTTP/1.1 200", b"HTTP/1.1  200 OK", b"HTTP/1.1 200 a\rb", b"ICY 200 OK", b"HTTP/2 200 OK", b"HTTP/1.1 20x X", b"",
]  # fmt: skip
RESPONSE_FIELDS = [
    b"Content-Length: 3", b"Content-Length: 5", b"Content-Length: +3", b"Content-Length: 3, 3", b"Content-Length : 3",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: gzip, chunked", b"X-A: b",
    b"Transfer-Encoding: identity", b"X: a\nContent-Length: 0", b"X: a\r\n b", b"X\x00: a", b": a",
    b"Content-Length:\x0b3", b"Set-Cookie: \xff", b"Content-Length: 99999999999999999999", b"Upgrade: websocket",
    b"Connection: close",
]  # fmt: skip


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Draw a response: right, or wrong in some places."""
    lines = [draw(st.sampled_from(STATUS_LINES[:1] * 20 + STATUS_LINES))]
    lines += draw(st.lists(st.sampled_from(RESPONSE_FIELDS), max_size=3))
    ends = [draw(st.sampled_from([b"\r\n"] * 20 + LINE_ENDS)) for _ in range(len(lines) + 1)]
    head = b"".join(line + end for line, end in zip([*lines, b""], ends, strict=True))
    body = draw(st.one_of(st.sampled_from([b"abc", b"", b"abcde", b"abc" + head]), chunked_bodies()))
    return draw(st.sampled_from([b""] * 8 + [b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n"])) + head + body


@contextmanager
def opened() -> Iterator[Check]:
    with proxy() as balancer:
        yield lambda case: check(balancer, case)


def check(balancer: Proxy, case: Any) -> None:
    kind, pieces = case
    if kind == "requests":
        check_requests(balancer, pieces)
    else:
        check_response(balancer, pieces)


def check_requests(balancer: Proxy, pieces: list[bytes]) -> None:
    passed = balancer.pass_requests(pieces)
    assert set(passed.own_statuses) <= OWN_STATUSES, f"answered {passed.own_statuses}"
    assert len(passed.own_statuses) <= 1, "answered after it had refused"
    assert not passed.own_statuses or passed.ended, "refused, and kept the connection"
    joined = balancer.pass_requests([b"".join(pieces)])
    assert _complete(joined) == _complete(passed), "pieces make a difference"
    complete = _complete(passed)
    for raw in complete:
        check_forwarded(raw)
    if any(raw.split(b" ", 1)[0] not in METHODS for raw in complete):
        return
    forwarded = [REQUEST_READERS["h11"](raw)[0][0] for raw in complete]
    for name, read in REQUEST_READERS.items():
        expected = forwarded
        try:
            seen, _ = read(b"".join(pieces))
        except Refused as exc:  # It refuses a later message. It must accept those that were forwarded.
            seen = exc.messages
            expected = forwarded[: len(seen)] if exc.upgraded else forwarded
        assert expected == seen[: len(expected)], f"{name} reads {seen} in what was sent, the target got {forwarded}"


def _complete(passed: Passed) -> list[bytes]:
    """Return the complete requests, without the trace id that each request gets."""
    return [TRACE_ID.sub(b"", raw) for raw, complete in passed.forwarded if complete]


def check_forwarded(raw: bytes) -> None:
    """Assert that both readers see exactly one complete request, and the same one."""
    found = []
    for name, read in REQUEST_READERS.items():
        if name == "httptools" and raw.split(b" ", 1)[0] not in METHODS:
            continue
        try:
            messages, rest = read(raw)
        except Refused as exc:
            raise AssertionError(f"forwarded {raw!r}, which a target refuses: {exc}") from exc
        assert len(messages) == 1 and not rest, f"{name} sees {messages} and {rest=} in {raw!r}"
        found += messages
    assert all(message == found[0] for message in found), f"the readers differ: {found}"


def check_response(balancer: Proxy, pieces: list[bytes]) -> None:
    passed = balancer.pass_requests([REQUEST], pieces)
    assert set(passed.own_statuses) <= {502}, f"answered {passed.own_statuses}"
    if passed.own_statuses or not passed.answered or passed.ended:
        return  # Refused; or not complete; or a body that ends with the connection.
    for name, read in RESPONSE_READERS.items():
        try:
            messages, rest = read(passed.answered)
        except Refused as exc:
            raise AssertionError(f"forwarded {passed.answered!r}, which a client refuses: {exc}") from exc
        if any(message.start[0] >= b"2" for message in messages):
            assert not rest, f"{name} sees bytes behind the response in {passed.answered!r}"
    h11_sees, _ = RESPONSE_READERS["h11"](passed.answered)
    httptools_sees, _ = RESPONSE_READERS["httptools"](passed.answered)
    assert [m.body for m in h11_sees] == [m.body for m in httptools_sees if m.start[0] >= b"2"][: len(h11_sees)]


def smuggled(*lines: bytes, body: bytes = b"0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n") -> tuple[str, list[bytes]]:
    return "requests", [b"\r\n".join([b"POST / HTTP/1.1", b"Host: a", *lines, b"", body])]


CHUNKED = b"Transfer-Encoding: chunked"
TARGET = Target(
    promise="What the load balancer forwards as one message is one message for everybody.",
    cases=st.one_of(
        st.tuples(st.just("requests"), pieces_of(raw_requests())),
        st.tuples(st.just("response"), pieces_of(responses())),
    ),
    open=opened,
    known=[
        smuggled(b"Content-Length: 4", CHUNKED),
        smuggled(CHUNKED, b"Content-Length: 4"),
        smuggled(CHUNKED, CHUNKED),
        smuggled(b"Transfer-Encoding: xchunked"),
        smuggled(b"Transfer-Encoding : chunked"),
        smuggled(b"Transfer-Encoding: \x0bchunked"),
        smuggled(b"X: a\nTransfer-Encoding: chunked"),
        smuggled(b"X: a", b" Transfer-Encoding: chunked"),
        smuggled(b"Content-Length: 4", b"Content-Length: 5"),
        smuggled(b"Content-Length: 4, 4"),
        smuggled(b"Content-Length: \x0b4"),
        smuggled(b"Content-Length: 99999999999999999999"),
        smuggled(CHUNKED, body=b"3\r\nabcXX0\r\n\r\n"),
        smuggled(CHUNKED, body=b"3\nabc\r\n0\r\n\r\n"),
        smuggled(CHUNKED, body=b"3;\nx\r\nabc\r\n0\r\n\r\n"),
        smuggled(CHUNKED, body=b"3 \r\nabc\r\n0\r\n\r\n"),
        smuggled(CHUNKED, body=b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        smuggled(CHUNKED, body=b"0\r\nContent-Length: 5\r\n\r\n"),
        smuggled(CHUNKED, body=b"0\r\nX: a\n\r\n"),
        ("requests", [b"GET / HTTP/1.1\nHost: a\n\n"]),
        ("requests", [b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n"]),
        ("requests", [b"GET / HTTP/1.1\r\n\r\n"]),
        ("requests", [b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"]),
        ("response", [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nabc"]),
        ("response", [b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n"]),
    ],
)
