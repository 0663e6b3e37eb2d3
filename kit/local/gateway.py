"""Serve AWS calls over ASGI: identify the caller and the service, and apply link rules to the call.

Every AWS call is a hop with two legs. The request leg passes the links before MiniStack sees the call, so a caller that
gives up while it waits leaves no effect. The reply leg passes them afterwards, so a cut then loses only the answer. The
gateway also serves the ECS metadata route.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from kit.local.endpoints import AWS, OPERATOR, Endpoint
from kit.local.links import LinkReset, Links

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

# Largest request: an ECR layer part is at most 20 MiB, a DynamoDB call 16 MB; S3 objects of ours are small.
BODY_BYTES_MAX = 64 * 1024 * 1024
# Bounds the cache of AWS endpoints. AWS has some 400 services; we call about twenty.
SERVICES_REMEMBERED_MAX = 512
METADATA_PREFIX = "/_ecs/v4/"
# Under this key the protocol class (`kit.local.http_server.Connection`) puts the connection into the ASGI scope.
TRANSPORT = "kit.transport"

_CREDENTIAL = re.compile(rb"Credential=([^/,\s]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_PRESIGNED = re.compile(rb"X-Amz-Credential=([^&%/]+)(?:%2F|/)\d{8}(?:%2F|/)([^&%/]+)(?:%2F|/)([^&%/]+)(?:%2F|/)")
_RECEIVE = b"AmazonSQS.ReceiveMessage"
_LINGER_ZERO = struct.pack("ii", 1, 0)
_DISCONNECT: Message = {"type": "http.disconnect"}


class CallerGone(Exception):
    """The caller closed its connection, so nobody reads an answer."""


class Tasks(Protocol):
    """The functions of the task scheduler that the gateway calls."""

    def endpoint_of_key(self, access_key: str) -> Endpoint | None:
        """Return the endpoint of the task with this access key, or None."""
        ...

    def metadata(self, task_id: str) -> dict[str, Any] | None:
        """Return the task's metadata document, or None."""
        ...


class Gateway:
    """Wrap the ASGI application `app` with caller identity and link rules."""

    def __init__(self, app: App, links: Links) -> None:
        self._app = app
        self._links = links
        self._services: dict[tuple[str, str], Endpoint] = {}
        self._tasks: Tasks | None = None

    def attach(self, tasks: Tasks) -> None:
        """Identify callers by their task from now on. Before this call every caller is the operator."""
        self._tasks = tasks

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith(METADATA_PREFIX):
            await self._answer_metadata(scope["path"], send)
            return
        length = _content_length(scope)
        if length > BODY_BYTES_MAX:
            await _refuse_body(send, length)
            return
        if length < 0:
            receive = _bounded(receive)
        caller, callee = self._caller_and_callee(scope)
        try:
            if caller.kind == OPERATOR.kind:
                await self._serve(scope, receive, send)
            else:
                await self._carry_call(scope, receive, send, caller, callee)
        except CallerGone:
            return
        except LinkReset:
            _reset(scope)

    def _caller_and_callee(self, scope: Any) -> tuple[Endpoint, Endpoint]:
        found = _identity(scope)
        if self._tasks is None or found is None:
            return OPERATOR, OPERATOR
        access_key, region, service = found
        caller = self._tasks.endpoint_of_key(access_key)
        return caller or OPERATOR, self._service(service, region)

    def _service(self, name: str, region: str) -> Endpoint:
        endpoint = self._services.get((name, region))
        if endpoint is None:
            endpoint = Endpoint(kind=AWS, id=name, service=name, region=region)
            if len(self._services) < SERVICES_REMEMBERED_MAX:
                self._services[(name, region)] = endpoint
        return endpoint

    async def _carry_call(self, scope: Any, receive: Receive, send: Send, caller: Endpoint, callee: Endpoint) -> None:
        links = self._links
        if not links.is_clear(caller, callee):
            body = await _read(receive)
            await _while_connected(links.carry(caller, callee), receive, scope)
            receive = _replay(body, receive)

        replied = False

        async def carry_reply(message: Message) -> None:
            nonlocal replied
            if not replied:
                replied = True
                # A rule may have been added while the call was served: a long poll can span the start of a fault.
                if not links.is_clear(callee, caller):
                    await _while_connected(links.carry(callee, caller), receive, scope)
            await send(message)

        await self._serve(scope, receive, carry_reply)

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Let MiniStack answer. Cancel a poll whose caller has disconnected, because it would consume messages."""
        if not _is_poll(scope):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        await _while_connected(self._app(scope, _replay(body, receive), send), receive, scope)

    async def _answer_metadata(self, path: str, send: Send) -> None:
        """Serve the ECS metadata endpoint v4. On AWS it is on the task's own host, so no link applies."""
        task_id, _, tail = path[len(METADATA_PREFIX) :].partition("/")
        task = None if self._tasks is None else self._tasks.metadata(task_id)
        if task is None or tail not in ("", "task"):
            await _answer(send, 404, {"message": f"no metadata of task {task_id!r} at /{tail}"})
            return
        # The bare address serves the container's own document. Only the first container of our tasks matters.
        await _answer(send, 200, task if tail == "task" else next(iter(task["Containers"]), {}))


def _identity(scope: Any) -> tuple[str, str, str] | None:
    """Return (access key, region, service) of the caller's signature, or None for an unsigned call."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            match = _CREDENTIAL.search(value)
            break
    else:
        match = _PRESIGNED.search(scope["query_string"])
    return (match[1].decode("latin-1"), match[2].decode("latin-1"), match[3].decode("latin-1")) if match else None


def _is_poll(scope: Any) -> bool:
    return any(name == b"x-amz-target" and value == _RECEIVE for name, value in scope["headers"])


def _content_length(scope: Any) -> int:
    """Return the announced length, or -1 for a chunked body."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
        if name == b"transfer-encoding":
            return -1
    return 0


async def _read(receive: Receive) -> bytes:
    """Read the whole body. Raises CallerGone."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _bounded(receive: Receive) -> Receive:
    """Report a disconnect when a chunked body exceeds the limit, so that the request is never applied."""
    total = 0

    async def receive_bounded() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        return message if total <= BODY_BYTES_MAX else _DISCONNECT

    return receive_bounded


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields a body that was already read."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def _while_connected(leg: Any, receive: Receive, scope: Any) -> None:
    """Await one leg of the call, or a poll. Raises CallerGone as soon as the caller closes its connection."""
    carrying = asyncio.ensure_future(leg)
    watching = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((carrying, watching), return_when=asyncio.FIRST_COMPLETED)
        if not watching.done():
            # A close that arrived meanwhile may still be in the socket. Let the loop read it, because a call
            # whose caller has disconnected must not be applied.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        transport = scope.get(TRANSPORT)
        if watching.done() or (transport is not None and transport.is_closing()):
            raise CallerGone
        carrying.result()
    finally:
        carrying.cancel()
        watching.cancel()
        await asyncio.wait((carrying, watching))
        if not carrying.cancelled():
            carrying.exception()  # Mark the exception as retrieved, because its caller has disconnected.


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _reset(scope: Any) -> None:
    """Reset the connection without an answer (TCP RST)."""
    transport = scope.get(TRANSPORT)
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()


async def _refuse_body(send: Send, length: int) -> None:
    text = f"request body of {length} bytes is over the limit of {BODY_BYTES_MAX}"
    await _answer(send, 413, {"__type": "RequestEntityTooLarge", "message": text}, close=True)


async def _answer(send: Send, status: int, value: Any, *, close: bool = False) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
