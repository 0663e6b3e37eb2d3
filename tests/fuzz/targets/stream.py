"""PaperBroker's stream: handshakes and frames, right and wrong."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from paperbroker.protocols import limits
from tests.fuzz.paperbroker_connection import Broker, Conversation, broker, parse_answers
from tests.fuzz.runner import Check, Target

REFUSALS = {400, 403, 404, 405, 408, 413, 414, 426, 431}
# Wrong protocol, wrong data, policy, too big, unknown market or cursor; and what the client itself sent.
CLOSE_CODES = {1002, 1007, 1008, 1009, 4004}
# Three events, a pong for each frame of two seconds, and a close frame.
STREAM_BYTES_MAX = 3 * 500 + 2 * limits.FRAMES_PER_S_MAX * 127 + 127
EVENTS = 3  # In the ledger of the market that the stream follows.
HANDSHAKE = [
    "Host: a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]  # fmt: skip
UPGRADE = {"Connection: Upgrade", "Upgrade: websocket"}
OTHERWISE = {"Connection: close", "Upgrade: h2c"}  # They take the wish for a stream back.
STRANGE = [
    "Sec-WebSocket-Key: a", "Sec-WebSocket-Key: é", "Sec-WebSocket-Version: 8", "Sec-WebSocket-Version: 9" * 400,
    "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Extensions: ;;",
    "Origin: http://evil.example", "Content-Length: 3", "Content-Length: 0", "Transfer-Encoding: chunked",
    "Connection: close", "Upgrade: h2c", "X-Long: " + "x" * 8100, "Expect: 100-continue", "Cookie: " + "a" * 7000,
    *(f"X-{n}: {n}" for n in range(3)),
]  # fmt: skip
METHODS = ["GET"] * 8 + ["POST", "HEAD", "OPTIONS", "PUT"]
VERSIONS = ["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/2.0"]
PATHS = [
    "/markets/ACME/stream", "/markets/NONE/stream", "/markets/" + "é" * 64 + "/stream", "/markets/%00/stream",
    "/markets/" + "x" * 7000 + "/stream", "/orders", "/healthz", "/readyz", "/markets/ACME/book", "/", "*",
    "/markets/%F0%9F%98%80/stream",
]  # fmt: skip
AFTERS = ["0", "1", "3", "7", "9007199254740992", "9007199254740993", "-1", "", "٣", "²", "9" * 4400, "0" * 4400, "1e1"]
CLOSES = [
    b"",
    b"\x03",
    b"\x03\xe8",
    b"\x03\xe8bye",
    b"\x03\xe8\xff",
    b"\x00\x00",
    b"\x03\xed",
    b"\xff\xff",
    b"\x0f\xa4",
]
PAYLOADS = [b"", b"a", b"\xff\xfe", b"{}", b"x" * 125, b"x" * 126, b"x" * 4096, b"x" * 4097, b"x" * 70000]
LENGTHS = [126, 65535, 65536, 2**31, 2**62, 2**63, 2**64 - 1]


@st.composite
def handshakes(draw: st.DrawFn) -> tuple[list[Any], bool]:
    """Draw [method, path, query, version, header lines], and whether a stream must follow."""
    if draw(st.integers(0, 2)):
        after = draw(st.sampled_from(AFTERS[:4]))
        return ["GET", PATHS[0], f"?after={after}", "HTTP/1.1", HANDSHAKE], True
    method, version = draw(st.sampled_from(METHODS)), draw(st.sampled_from(VERSIONS))
    path = draw(st.sampled_from(PATHS[:1] * 10 + PATHS))
    query = "".join(f"{sep}after={draw(st.sampled_from(AFTERS))}" for sep in "?&"[: draw(st.integers(0, 2))])
    lines = [line for line in HANDSHAKE if draw(st.integers(0, 9))]
    lines += draw(st.lists(st.sampled_from(STRANGE), max_size=2)) * draw(st.sampled_from([1, 1, 1, 60]))
    return [method, path, query, version, lines], False


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Draw one client frame: well-formed, or with wrong flags, lengths, masks or close codes."""
    opcode = draw(st.sampled_from([0, 1, 2, 8, 9, 9, 10, 3, 11]))
    payload = draw(st.sampled_from(CLOSES if opcode == 8 else PAYLOADS))
    strange = draw(st.integers(0, 3)) == 0
    flags = draw(st.sampled_from([0x80, 0x00, 0xC0, 0x90])) if strange else 0x80
    if strange and draw(st.booleans()):
        return bytes([flags | opcode, 0x80 | 127]) + struct.pack("!Q", draw(st.sampled_from(LENGTHS))) + b"\0" * 4
    masked = not strange or draw(st.booleans())
    return frame(flags | opcode, payload, masked=masked)


def frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    """Build a client frame; its mask is 0, so that the payload can be read."""
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head = bytes([first, mask | len(payload)])
    elif len(payload) < 65536:
        head = bytes([first, mask | 126]) + struct.pack("!H", len(payload))
    else:
        head = bytes([first, mask | 127]) + struct.pack("!Q", len(payload))
    return head + (b"\0" * 4 if masked else b"") + payload


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Any], list[tuple[bytes, int]], bool, bool]:
    """Draw (handshake, what follows it and how often, whether in one piece, whether the client hangs up)."""
    handshake, _ = draw(handshakes())
    sent = [
        (part, draw(st.sampled_from([1, 1, 1, 300])) if len(part) < 20 else 1)
        for part in draw(st.lists(frames(), max_size=4))
    ]
    if draw(st.integers(0, 4)) == 0:
        sent.append((draw(st.binary(max_size=20)), 1))
    return handshake, sent, draw(st.booleans()), draw(st.booleans())


@contextmanager
def opened() -> Iterator[Check]:
    with broker() as api:
        yield lambda case: check(api, case)


def check(api: Broker, case: Any) -> None:
    (method, path, query, version, lines), repeated, joined, hang_up = case
    sent = [part * times for part, times in repeated]
    target = quote(path + query, safe="/?&=%*")
    head = "\r\n".join([f"{method} {target} {version}", *lines, "", ""]).encode("latin-1")
    pieces = [b"".join([head, *sent])] if joined else [head, *sent]
    conversation = api.converse(pieces, hang_up=hang_up)
    if hang_up:
        return
    answers, stream = parse_answers(conversation.written)
    if answers and answers[-1][0] == 101:
        check_stream(conversation, stream, sent)
        assert (method, version) == ("GET", "HTTP/1.1")
    else:
        plain = {200, *REFUSALS}  # Without the upgrade's fields it is an ordinary request.
        assert {status for status, _ in answers} <= plain, f"answered {answers}"
        awaits_body = any(line.startswith(("Content-Length: 3", "Transfer-Encoding")) for line in lines)
        asks_for_stream = set(lines) >= UPGRADE and not OTHERWISE & set(lines)
        assert answers or (awaits_body and not asks_for_stream), "no answer"
    fits = len(target) <= limits.LINE_BYTES_MAX
    if fits and lines == HANDSHAKE and (method, version) == ("GET", "HTTP/1.1") and path == PATHS[0]:
        assert answers[-1][0] == 101, f"a good handshake got {answers}"
        after = query.removeprefix("?after=")
        right = not query or (after.isascii() and after.isdigit() and len(after) <= 16 and int(after) <= 2**53)
        if not sent:
            texts, codes = parse_frames(stream)
            assert codes == ([] if right else [4004])
            skipped = int(after or 0) if right else EVENTS
            assert [t["seq"] for t in texts] == list(range(skipped + 1, EVENTS + 1))


def check_stream(conversation: Conversation, stream: bytes, sent: Sequence[bytes]) -> None:
    """Assert that the server's frames are right, and that a close frame is the last and allowed."""
    assert len(stream) <= STREAM_BYTES_MAX, f"wrote {len(stream)} bytes, which nobody may read"
    _, codes = parse_frames(stream)
    assert len(codes) <= 1, f"closed with {codes}"
    if codes:
        assert conversation.ended or codes[0] == 4004, "closed, but the connection stays"
        echoed = any(part[:1] == b"\x88" for part in sent)
        assert codes[0] in CLOSE_CODES or echoed, f"closed with {codes[0]}"


def parse_frames(stream: bytes) -> tuple[list[Any], list[int]]:
    """Parse server frames: the JSON of the texts, and the codes of close frames. Nothing follows a close frame."""
    texts, codes = [], []
    while stream:
        assert not codes, f"{stream[:40]!r} after the close frame"
        first, size, at = stream[0], stream[1], 2
        if size == 126:
            (size,), at = struct.unpack("!H", stream[2:4]), 4
        assert size < 127 or at == 4, "a masked or large frame"
        payload, stream = stream[at : at + size], stream[at + size :]
        assert len(payload) == size, "the last frame is cut off"
        match first:
            case 0x81:
                texts.append(json.loads(payload))
            case 0x88:
                codes.append(struct.unpack("!H", payload[:2])[0] if payload else 1005)
            case _:
                assert first == 0x8A, f"frame {first:#x}"
    return texts, codes


GOOD: list[Any] = ["GET", PATHS[0], "?after=0", "HTTP/1.1", HANDSHAKE]

TARGET = Target(
    promise="Whatever a client sends to the stream, it gets a 4xx or a close code, and nobody is alarmed.",
    cases=conversations(),
    open=opened,
    known=[
        (["POST", "/orders", "", "HTTP/1.1", [*HANDSHAKE, "Content-Length: 2"]], [(b"{}", 1)], True, False),
        (["GET", PATHS[0], "", "HTTP/1.1", [*HANDSHAKE, "Content-Length: 3"]], [(b"abc", 1)], True, False),
        (["GET", PATHS[0], "", "HTTP/1.1", [*HANDSHAKE, *STRANGE[-3:] * 67]], [], True, False),
        (["GET", PATHS[0], f"?after={'9' * 4400}", "HTTP/1.1", HANDSHAKE], [], True, False),
        (["GET", "/markets/%F0%9F%98%80" * 40 + "/stream", "", "HTTP/1.1", HANDSHAKE], [], True, False),
        (GOOD, [(frame(0x89, b"x" * 125), 4000)], False, False),
        (GOOD, [], False, True),
        (["GET", PATHS[0], "?after=-1", "HTTP/1.1", HANDSHAKE], [(frame(0x89, b""), 1)], False, False),
    ],
)
