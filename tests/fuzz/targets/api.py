"""PaperBroker's HTTP API: any bytes on a connection, and requests that are right or wrong in one known place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from tests.fuzz.http_messages import pieces_of, raw_requests
from tests.fuzz.paperbroker_connection import IDENTIFIER, Broker, broker, parse_answers
from tests.fuzz.runner import Check, Target

# No answer to a client's mistake is a 5xx, and none of them may be hidden in a redirect.
STATUSES = {200, 201, 202, 400, 404, 405, 408, 413, 414, 431}
ORDER = {
    "clientId": '"c1"', "idempotencyKey": '"k1"', "orderId": '"o1"', "symbol": '"ACME"', "side": '"BUY"',
    "type": '"LIMIT"', "tif": '"GTC"', "qty": "5", "price": "100",
}  # fmt: skip
NUMBERS_OK = ["1", "2", "1000000000", "7e0"[:1]]
NUMBERS_BAD = [
    "0", "-1", "-0", "1.0", "1e2", "1E400", "01", "+1", "true", "null", '"1"', "NaN", "Infinity", "-Infinity", "[1]",
    "9" * 30, "9" * 3000, "0x1", "1_0", "", "{}",
]  # fmt: skip
TEXT_OK = ['"a"', '"A.b:c-d_9"', '"' + "x" * 64 + '"', '"\\u0061"']
TEXT_BAD = [
    '""', '"' + "x" * 65 + '"', '"a b"', '"é"', '"\\ud800"', '"\\u0000"', '"a\\n"', "null", "1", "[]", '{"a":1}', '"a',
    '"\\x"', '"٣"', "'a'", '"a\x01"',
]  # fmt: skip
WRONG_FIELDS = {
    "clientId": TEXT_BAD, "idempotencyKey": TEXT_BAD, "orderId": TEXT_BAD, "symbol": [*TEXT_BAD, '"NONE"', '"acme"'],
    "side": [*TEXT_BAD, '"buy"', '"BUY "'], "type": [*TEXT_BAD, '"STOP"'], "tif": ['"DAY"', "1", '""', "[]"],
    "qty": [*NUMBERS_BAD, "1000000001"], "price": [*NUMBERS_BAD, "1000000000001"],
}  # fmt: skip
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be", "utf-7"]
WRAPPERS = ["[%s]", "%s%s", "%s,", "%s x", "\x00%s", "// a\n%s", "[" * 990 + "%s", '{"a":' * 500 + "%s", "%s]", "'%s'"]
PATHS = ["o1", "x" * 64, "x" * 65, "x" * 3000, "a%20b", "%00", "%ff", "%C3%A9", "a%2Fb", "a:b.c-d_e", "%61", "..", "~"]
INTEGERS = [
    "", "0", "1", "00000000000000000005", "5000", "-1", "+1", " 1", "1 ", "%31", "٣", "1_0", "1e1", "0x1", "500", "501",
    "9007199254740992", "9007199254740993", "0" * 20 + "9" * 38, "9" * 4400, "100", "101", "1.0", "²",
]  # fmt: skip


def _order_text(draw: st.DrawFn) -> tuple[list[Any], bool]:
    """Draw the body of an order, and whether it is right."""
    fields = dict(ORDER)
    for name in draw(st.lists(st.sampled_from(["clientId", "idempotencyKey", "orderId"]), max_size=2)):
        fields[name] = draw(st.sampled_from(TEXT_OK))
    for name in draw(st.lists(st.sampled_from(["qty", "price"]), max_size=2)):
        fields[name] = draw(st.sampled_from(NUMBERS_OK))
    mistake = draw(st.sampled_from(["none", "field", "missing", "unknown", "twice", "encoding", "wrapper", "bytes"]))
    pairs = list(fields.items())
    encoding, wrapper, tail = "utf-8", "%s", b""
    match mistake:
        case "field":
            name = draw(st.sampled_from(sorted(WRONG_FIELDS)))
            pairs = [(n, draw(st.sampled_from(WRONG_FIELDS[n])) if n == name else v) for n, v in pairs]
        case "missing":
            name = draw(st.sampled_from([n for n in ORDER if n != "tif"]))
            pairs = [(n, v) for n, v in pairs if n != name]
        case "unknown":
            pairs.append((draw(st.sampled_from(["", "pricee", "\\ud800", "__class__", "qty ", "Qty"])), "1"))
        case "twice":
            pairs.insert(draw(st.integers(0, len(pairs))), draw(st.sampled_from(pairs)))
        case "encoding":
            encoding = draw(st.sampled_from(ENCODINGS[1:-1]))
        case "wrapper":
            wrapper = draw(st.sampled_from(WRAPPERS))
        case "bytes":
            tail = draw(st.sampled_from([b"\xff", b"\x00", b"\xed\xa0\x80", b"\xc0\x80"]))
    return [pairs, encoding, wrapper, tail], mistake == "none"


@st.composite
def orders(draw: st.DrawFn) -> tuple[str, bytes, bool]:
    """Draw (path, body, whether it must be accepted)."""
    (pairs, encoding, wrapper, tail), right = _order_text(draw)
    text = "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
    text = wrapper.replace("%s", text)
    return "/orders", text.encode(encoding, "surrogatepass") + tail, right


@st.composite
def reads(draw: st.DrawFn) -> tuple[str, str, bool]:
    """Draw (kind "read", path with query, whether it must be answered with 200)."""
    kind = draw(st.sampled_from(["order", "book", "trades"]))
    value = draw(st.sampled_from(INTEGERS))
    if kind == "order":
        order_id, client = draw(st.sampled_from(PATHS)), draw(st.sampled_from(PATHS))
        right = bool(IDENTIFIER.fullmatch(_unquote(order_id)) and IDENTIFIER.fullmatch(_unquote(client)))
        twice = draw(st.booleans())
        query = f"clientId={client}" + (f"&clientId={client}" if twice else "")
        return "read", f"/orders/{order_id}?{query}", right and not twice
    name, low, high = draw(st.sampled_from({
        "book": [("depth", 1, 100)], "trades": [("after", 0, 2**53), ("limit", 1, 500)],
    }[kind]))  # fmt: skip
    text = _unquote(value)
    right = text.isascii() and text.isdigit() and len(text) <= 16 and low <= int(text) <= high
    return "read", f"/markets/ACME/{kind}?{name}={value}", right


def _unquote(text: str) -> str:
    return {"%61": "a", "%31": "1"}.get(text, text)


@contextmanager
def opened() -> Iterator[Check]:
    with broker() as api:
        yield lambda case: check(api, case)


def check(api: Broker, case: Any) -> None:
    kind, content, expected = case
    if kind == "raw":
        check_answers(api.converse(content, hang_up=expected).written, complete=not expected)
    elif kind == "read":
        head = f"GET {quote(content, safe='/?&=%+')} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        (status,) = check_answers(api.converse([head], hang_up=False).written)
        assert (status == 200) == expected, f"GET {content[:200]} got {status}"
    else:
        head = f"POST {kind} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        (status,) = check_answers(api.converse([head + content], hang_up=False).written)
        assert status == (201 if expected else 400), f"{content[:300]!r} got {status}"


def check_answers(written: bytes, *, complete: bool = True) -> list[int]:
    """Assert that all answers are well-formed and allowed; return their statuses."""
    answers, _ = parse_answers(bytes(written)) if complete else ([], b"")
    for status, body in answers:
        assert status in STATUSES, f"answered {status} {body[:200]!r}"
        if body:
            json.loads(body)
    return [status for status, _ in answers]


TARGET = Target(
    promise="Whatever a client sends to the API, it gets at most a 4xx, and nobody is alarmed.",
    cases=st.one_of(
        orders(), reads(), st.tuples(st.just("raw"), pieces_of(raw_requests()), st.booleans())
    ),
    open=opened,
    known=[
        ("raw", [b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"], True),
        ("raw", [b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 990\r\n\r\n" + b"[" * 990], False),
        ("raw", [b"POST /orders HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"], False),
        ("read", "/markets/ACME/trades?limit=00000000000000000500" + "0000", False),
        ("read", "/markets/ACME/trades?after=" + "0" * 20 + "9" * 5000, False),
        ("read", f"/orders/{'x' * 2100}?clientId=a", False),
    ],
)  # fmt: skip
