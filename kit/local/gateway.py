"""Serve AWS calls over ASGI: identify the caller and the service, and apply name lookups and link rules to the call.

Every AWS call is a hop with two legs. The request leg passes the links before MiniStack sees the call, so a caller that
gives up while it waits leaves no effect. The reply leg passes them afterwards, so a cut then loses only the answer. The
gateway also serves the ECS metadata route.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from typing import Any, Protocol

from kit.local.asgi import App, CallerGone, Message, Receive, Send, answer, read_body, replay
from kit.local.endpoints import AWS, OPERATOR, Endpoint
from kit.local.links import LinkReset, Links
from kit.local.name_lookups import CONNECTION_S_MAX, LookupFailed, NameLookups
from kit.local.sigv4 import IDENTITY, Identity

# Bounds the cache of AWS endpoints. AWS has some 400 services; we call about twenty.
SERVICES_REMEMBERED_MAX = 512
METADATA_PREFIX = "/_ecs/v4/"
# Under this key the protocol class (`kit.local.http_server.Connection`) puts the connection into the ASGI scope.
TRANSPORT = "kit.transport"
# Under this one it puts when the connection was opened (loop time) and how many requests it has had before.
CONNECTION = "kit.connection"

# Operations that wait for something which nobody else gets then.
_POLLS = (b"AmazonSQS.ReceiveMessage", b"AWSStepFunctions.GetActivityTask")
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Tasks(Protocol):
    """The functions of the task scheduler that the gateway calls."""

    def endpoint_of_key(self, access_key: str) -> Endpoint | None:
        """Return the endpoint of the task with this access key, or None."""
        ...

    def metadata(self, task_id: str) -> dict[str, Any] | None:
        """Return the task's metadata document, or None."""
        ...


class Functions(Protocol):
    """The functions of Lambda that the gateway calls."""

    def endpoint_of_key(self, access_key: str) -> Endpoint | None:
        """Return the endpoint of the execution environment with this access key, or None."""
        ...


class Gateway:
    """Wrap the ASGI application `app` with caller identity and link rules."""

    def __init__(self, app: App, links: Links) -> None:
        self._app = app
        self._links = links
        self._services: dict[tuple[str, str], Endpoint] = {}
        self._tasks: Tasks | None = None
        self._functions: Functions | None = None
        self._lookups: NameLookups | None = None

    def attach(self, tasks: Tasks, functions: Functions | None = None, lookups: NameLookups | None = None) -> None:
        """Identify callers by task and function from now on. Before this call every caller is the operator."""
        self._tasks = tasks
        self._functions = functions
        self._lookups = lookups

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"].startswith(METADATA_PREFIX):
            await self._answer_metadata(scope["path"], send)
            return
        caller, callee = self._caller_and_callee(scope)
        try:
            if caller.kind == OPERATOR.kind:
                await self._serve(scope, receive, send)
            else:
                await self._carry_call(scope, receive, send, caller, callee)
        except CallerGone:
            return
        except (LinkReset, LookupFailed):
            _reset(scope)

    def _caller_and_callee(self, scope: Any) -> tuple[Endpoint, Endpoint]:
        signed: Identity | None = scope.get(IDENTITY)
        if self._tasks is None or signed is None:
            return OPERATOR, OPERATOR
        caller = self._tasks.endpoint_of_key(signed.access_key)
        if caller is None and self._functions is not None:
            caller = self._functions.endpoint_of_key(signed.access_key)
        return caller or OPERATOR, self._service(signed.service, signed.region)

    def _service(self, name: str, region: str) -> Endpoint:
        endpoint = self._services.get((name, region))
        if endpoint is None:
            endpoint = Endpoint(kind=AWS, id=name, service=name, region=region)
            if len(self._services) < SERVICES_REMEMBERED_MAX:
                self._services[(name, region)] = endpoint
        return endpoint

    async def _carry_call(self, scope: Any, receive: Receive, send: Send, caller: Endpoint, callee: Endpoint) -> None:
        links, lookups = self._links, self._lookups
        impaired = lookups.impaired(caller, callee) if lookups else None
        opened_at, requests = scope.get(CONNECTION, (0.0, 1))
        if lookups and impaired and requests == 0:
            body = await read_body(receive)
            await _while_connected(lookups.look_up(impaired, callee.service), receive, scope)
            receive = replay(body, receive)
        if not links.is_clear(caller, callee):
            body = await read_body(receive)
            await _while_connected(links.carry(caller, callee), receive, scope)
            receive = replay(body, receive)

        replied = False

        async def carry_reply(message: Message) -> None:
            nonlocal replied
            if not replied:
                replied = True
                # A rule may have been added while the call was served: a long poll can span the start of a fault.
                if not links.is_clear(callee, caller):
                    await _while_connected(links.carry(callee, caller), receive, scope)
                if impaired and asyncio.get_running_loop().time() - opened_at > CONNECTION_S_MAX:
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._serve(scope, receive, carry_reply)

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Let MiniStack answer. Cancel a poll whose caller has disconnected: it would take a message or a task."""
        if not _is_poll(scope):
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        await _while_connected(self._app(scope, replay(body, receive), send), receive, scope)

    async def _answer_metadata(self, path: str, send: Send) -> None:
        """Serve the ECS metadata endpoint v4. On AWS it is on the task's own host, so no link applies."""
        task_id, _, tail = path[len(METADATA_PREFIX) :].partition("/")
        task = None if self._tasks is None else self._tasks.metadata(task_id)
        if task is None or tail not in ("", "task"):
            await _answer_json(send, 404, {"message": f"no metadata of task {task_id!r} at /{tail}"})
            return
        # The bare address serves the container's own document. Only the first container of our tasks matters.
        await _answer_json(send, 200, task if tail == "task" else next(iter(task["Containers"]), {}))


def _is_poll(scope: Any) -> bool:
    return any(name == b"x-amz-target" and value in _POLLS for name, value in scope["headers"])


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


async def _answer_json(send: Send, status: int, value: Any) -> None:
    await answer(send, status, json.dumps(value).encode(), b"application/json")
