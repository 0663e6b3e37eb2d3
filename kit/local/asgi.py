"""Name the types of ASGI, and read, replay and answer requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

# Largest request: an ECR layer part is at most 20 MiB, a DynamoDB call 16 MB; S3 objects of ours are small.
BODY_BYTES_MAX = 64 * 1024 * 1024


class CallerGone(Exception):
    """The caller closed its connection, so nobody reads an answer."""


class BodyTooLarge(Exception):
    """The body exceeds the limit. `args[0]` is the number of bytes that were announced or received."""


async def read_body(receive: Receive) -> bytes:
    """Read the whole body. Raises CallerGone and BodyTooLarge."""
    chunks: list[bytes] = []
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        chunk = message.get("body", b"")
        total += len(chunk)
        if total > BODY_BYTES_MAX:
            raise BodyTooLarge(total)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields a body that was already read."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def answer(send: Send, status: int, body: bytes, content_type: bytes, more: Sequence[Header] = ()) -> None:
    """Send a whole response."""
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
