"""Heads and bodies: what parsers disagree about is refused, so that a target sees the requests that the ALB saw."""

import pytest

from kit.local.alb.framing import CHUNK_LINE_BYTES_MAX, ChunkedBody, LengthBody, request_body, response_body
from kit.local.alb.heads import LINE_BYTES_MAX, BadMessage, parse_request_head, parse_response_head


def head(*lines: bytes, start: bytes = b"POST / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([start, *([host] if host else []), *lines])


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (head(start=b"GET /\x00 HTTP/1.1"), 400),
        (head(start=b"GET /\xc3\xa9 HTTP/1.1"), 400),
        (head(start=b"GET /a b HTTP/1.1"), 400),
        (head(start=b"GET  / HTTP/1.1"), 400),
        (head(start=b"GET / HTTP/1.2"), 400),
        (head(start=b"GET /\n HTTP/1.1"), 400),
        (head(start=b"CONNECT a:443 HTTP/1.1"), 400),
        (head(start=b"GET * HTTP/1.1"), 400),
        (head(start=b"GET a:443 HTTP/1.1"), 400),
        (head(start=b"GET ?a HTTP/1.1"), 400),
        (head(start=b"GET http://[ HTTP/1.1"), 400),
        (head(start=b"GET http:// HTTP/1.1"), 400),
        (head(start=b"TRACE / HTTP/1.1"), 405),
        (head(b"Content-Length: 4", b"Content-Length: 4"), 400),
        (head(b"Transfer-Encoding: chunked\t"), 400),
        (head(b"Content-Length:\t4"), 400),
        (head(start=b"GET /" + b"x" * LINE_BYTES_MAX + b" HTTP/1.1"), 414),
        (head(host=b""), 400),
        (head(b"Host: b"), 400),
        (head(b"X : a"), 400),
        (head(b" folded"), 400),
        (head(b"X: a\nContent-Length: 5"), 400),
        (head(b"X: a\rb"), 400),
        (head(b"X: a\x00b"), 400),
        (head(b"X(: a"), 400),
        (head(b"X: " + b"a" * LINE_BYTES_MAX), 400),
        (head(b"X-Forwarded-For: " + b"1.1.1.1, " * 31), 463),
    ],
)
def test_head_that_parsers_disagree_about_is_refused(raw: bytes, status: int):
    with pytest.raises(BadMessage) as caught:
        parse_request_head(raw)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 4", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding:",),
        (b"Content-Length: 4, 4",),
        (b"Content-Length: +4",),
        (b"Content-Length:",),
        (b"Content-Length: 4_0",),
        (b"Content-Length: " + b"9" * 16,),
    ],
)
def test_ambiguous_framing_of_a_request_is_refused(lines: tuple[bytes, ...]):
    with pytest.raises(BadMessage):
        request_body(parse_request_head(head(*lines)))


def test_chunks_need_http_1_1():
    with pytest.raises(BadMessage):
        request_body(parse_request_head(head(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0")))


def test_framing_of_a_plain_request_is_forwarded_as_it_is():
    parsed = parse_request_head(head(b"X-A: b", b"Content-Length:4"))
    assert parsed.passed == [b"Host: a", b"X-A: b", b"Content-Length:4"]
    assert isinstance(request_body(parsed), LengthBody)


@pytest.mark.parametrize("target", [b"/", b"/a?b=c#d", b"/%zz", b"http://a/b", b"https://a.b:80?x", b"http://a"])
def test_target_is_a_path_or_a_url(target: bytes):
    assert parse_request_head(head(start=b"GET " + target + b" HTTP/1.1")).start[1] == target
    assert parse_request_head(head(start=b"OPTIONS * HTTP/1.1")).start[1] == b"*"


def test_close_is_an_option_of_its_own():
    assert parse_request_head(head(b"Connection: not-close")).keeps_alive
    assert not parse_request_head(head(b"Connection: keep-alive, Close")).keeps_alive


@pytest.mark.parametrize(
    "body",
    [
        b"3\r\nabcXX0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"\r\n",
        b"3;\n\r\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3; a\r\nabc\r\n0\r\n\r\n",
        b"f" * 16 + b"\r\n",
        b"3;a=" + b"x" * CHUNK_LINE_BYTES_MAX + b"\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nX: a\n\r\n",
        b"0\n\n",
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_chunk_in_another_spelling_is_refused(body: bytes, step: int):
    framer = ChunkedBody()
    with pytest.raises(BadMessage):
        for at in range(0, len(body), step):
            framer.take(body[at : at + step])


@pytest.mark.parametrize("step", [1, 2, 1000])
def test_chunked_body_ends_where_its_trailer_ends(step: int):
    body = b'3\r\nabc\r\nA;name=token;q="a \\" b"\r\n0123456789\r\n0\r\nX-A: b\r\n\r\n'
    data, framer, taken = body + b"GET / HTTP/1.1\r\n", ChunkedBody(), 0
    while not framer.done:
        taken += framer.take(data[taken : taken + step])
    assert taken == len(body)


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: xchunked",),
        (b"Content-Length: 3, 3",),
        (b"X: a\nContent-Length: 0",),
    ],
)
def test_ambiguous_response_is_refused(lines: tuple[bytes, ...]):
    with pytest.raises(BadMessage):
        status, parsed = parse_response_head(b"\r\n".join([b"HTTP/1.1 200 OK", *lines]))
        response_body(parsed, b"GET", status)
