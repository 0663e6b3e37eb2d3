"""Serve PaperBroker over HTTP and WebSocket: routes, and the status of each error.

Requests pass a bulkhead (`services.bulkhead`). A request that cannot be served in time gets 503 at once, because a
queue would only prolong the outage. One client may hold only a part of the bulkhead (429). Every answer comes within
REQUEST_S. A 503 after a write leaves the outcome unknown: resubmit under the same key to learn it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from paperbroker import errors
from paperbroker.domain.orders import NewOrder, identifier, parse_cancel, parse_order
from paperbroker.logs import Log
from paperbroker.request_content import SEQ_MAX, query_identifier, query_integer, read_json, trace_id
from paperbroker.services.bulkhead import Bulkhead
from paperbroker.services.health import Readiness
from paperbroker.services.intake import Intake, Receipt
from paperbroker.services.queries import DEPTH_MAX, TRADES_MAX, Queries
from paperbroker.services.stream import UNKNOWN_MARKET, Hub
from paperbroker.services.telemetry import Telemetry

RETRY_AFTER_S = 1
DEPTH_DEFAULT = 20
TRADES_DEFAULT = 100
# The status that the load balancer counts for a client that has hung up. It is never sent.
CLIENT_CLOSED = 460
CLOSE_REASON_BYTES_MAX = 123  # Of a WebSocket close frame.

STATUS: dict[type[errors.PaperBrokerError], int] = {
    errors.InvalidRequest: 400,
    errors.NotOwner: 403,
    errors.UnknownOrder: 404,
    errors.IdempotencyKeyReused: 409,
    errors.OrderIdReused: 409,
    errors.ClientOverloaded: 429,
    errors.Overloaded: 503,
    errors.StoreUnavailable: 503,
    errors.StoreThrottled: 503,
    errors.StoreContended: 503,
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Api:
    """Request handlers."""

    def __init__(
        self,
        *,
        markets: tuple[str, ...],
        intake: Intake,
        queries: Queries,
        hub: Hub,
        readiness: Readiness,
        telemetry: Telemetry,
        writes: Bulkhead,
        reads: Bulkhead,
    ) -> None:
        self._markets = frozenset(markets)
        self._intake = intake
        self._queries = queries
        self._hub = hub
        self._readiness = readiness
        self._telemetry = telemetry
        self._writes = writes
        self._reads = reads

    async def submit(self, request: Request) -> Response:
        until = self._writes.deadline()
        order = parse_order(await read_json(request), self._markets)
        receipt = await self._writes.run(order.client_id, until, self._submit, order, trace_id(request), until)
        return _json(201 if receipt.first else 200, receipt.answer)

    def _submit(self, order: NewOrder, trace_id: str, until: float) -> Receipt:
        """Submit and count the order here, because it is accepted even if its client has given up on the answer."""
        receipt = self._intake.submit(order, trace_id, until)
        if receipt.first:
            self._telemetry.count("OrdersAccepted", 1)
        return receipt

    async def cancel(self, request: Request) -> Response:
        until = self._writes.deadline()
        cancel = parse_cancel(await read_json(request), request.path_params["order_id"])
        receipt = await self._writes.run(cancel.client_id, until, self._intake.cancel, cancel, trace_id(request), until)
        return _json(202 if receipt.first else 200, receipt.answer)

    async def order(self, request: Request) -> Response:
        order_id = identifier({"orderId": request.path_params["order_id"]}, "orderId")
        client_id = query_identifier(request.query_params, "clientId")
        return await self._read(self._queries.order, order_id, client_id)

    async def book(self, request: Request) -> Response:
        market = self._market(request)
        depth = query_integer(request.query_params, "depth", DEPTH_DEFAULT, 1, DEPTH_MAX)
        return await self._read(self._queries.book, market, depth)

    async def trades(self, request: Request) -> Response:
        market = self._market(request)
        after = query_integer(request.query_params, "after", 0, 0, SEQ_MAX)
        limit = query_integer(request.query_params, "limit", TRADES_DEFAULT, 1, TRADES_MAX)
        return await self._read(self._queries.trades, market, after, limit)

    async def stream(self, websocket: WebSocket) -> None:
        subscriber = _WebSocketSubscriber(websocket)
        # In ASGI, sending to a client that has left raises OSError. A client may leave at any time.
        with contextlib.suppress(WebSocketDisconnect, OSError):
            await websocket.accept()
            try:
                market = self._market(websocket)
                after = query_integer(websocket.query_params, "after", 0, 0, SEQ_MAX)
            except errors.InvalidRequest as exc:
                await subscriber.close(UNKNOWN_MARKET, str(exc))
            else:
                await self._stream(subscriber, market, after)

    async def _stream(self, subscriber: _WebSocketSubscriber, market: str, after: int) -> None:
        """Serve until the subscriber disconnects or the hub closes the stream."""
        serving = asyncio.create_task(self._hub.serve(subscriber, market, after))
        listening = asyncio.create_task(subscriber.until_disconnected())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, listening):
            task.cancel()
        outcomes = await asyncio.gather(serving, listening, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect):
                raise outcome

    async def healthz(self, request: Request) -> Response:
        return _json(200, '{"status":"alive"}')

    async def readyz(self, request: Request) -> Response:
        # The loop's default executor: a probe must not wait behind the requests.
        status, body = await asyncio.get_running_loop().run_in_executor(None, self._readiness.answer)
        return _json(status, body.decode())

    def _market(self, connection: HTTPConnection) -> str:
        market = connection.path_params["symbol"]
        if market not in self._markets:
            raise errors.InvalidRequest("symbol", f"unknown market {market[:64]!r}")
        return market

    async def _read(self, call: Callable[..., dict[str, Any]], *args: Any) -> Response:
        # Reads carry no client of their own, so the limit per client does not apply.
        return _json(200, await self._reads.run("", self._reads.deadline(), call, *args))


class _WebSocketSubscriber:
    """Adapt a WebSocket to the hub's `Subscriber`."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def send(self, text: str) -> None:
        await self._websocket.send_text(text)

    async def close(self, code: int, reason: str) -> None:
        text = reason.encode("ascii", "backslashreplace")[:CLOSE_REASON_BYTES_MAX].decode()
        await self._websocket.close(code, text)

    async def until_disconnected(self) -> None:
        """Read and ignore what the subscriber sends until it disconnects."""
        while (await self._websocket.receive())["type"] != "websocket.disconnect":
            pass


def make_app(api: Api, readiness: Readiness, telemetry: Telemetry, log: Log) -> Observed:
    """Build the ASGI application."""
    app = Starlette(
        routes=[
            Route("/orders", api.submit, methods=["POST"]),
            Route("/orders/{order_id}", api.order, methods=["GET"]),
            Route("/orders/{order_id}/cancel", api.cancel, methods=["POST"]),
            Route("/markets/{symbol}/book", api.book, methods=["GET"]),
            Route("/markets/{symbol}/trades", api.trades, methods=["GET"]),
            Route("/healthz", api.healthz, methods=["GET"]),
            Route("/readyz", api.readyz, methods=["GET"]),
            WebSocketRoute("/markets/{symbol}/stream", api.stream),
        ],
        exception_handlers={
            errors.PaperBrokerError: partial(_refusal, log),
            HTTPException: _http_refusal,
            ClientDisconnect: _hung_up,
        },
    )
    app.router.redirect_slashes = False  # A redirect would send the client to whatever its Host header names.
    return Observed(app, readiness, telemetry, log)


class Observed:
    """Middleware: counts and times requests, answers unexpected exceptions with 500, closes connections while draining.

    `last_request_at` is the time (monotonic, s) of the last request other than a health check.
    """

    def __init__(self, app: Starlette, readiness: Readiness, telemetry: Telemetry, log: Log) -> None:
        self.last_request_at = float("-inf")
        self._app = app
        self._readiness = readiness
        self._telemetry = telemetry
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in ("/healthz", "/readyz"):
            await self._app(scope, receive, send)
            return
        self.last_request_at = time.monotonic()
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def received() -> MutableMapping[str, Any]:
            nonlocal started
            message = await receive()
            started = time.perf_counter()  # What passed before is the client's time.
            return message

        async def observed(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._readiness.draining.is_set():
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, received, observed)
        except Exception:  # noqa: BLE001 - the outermost boundary: one bad request must not take the task down
            self._log.exception("api.unexpected", path=scope["path"])
            if status == 0:
                await _json(500, '{"error":"InternalError"}')(scope, receive, observed)
            status = 500
        if status == CLIENT_CLOSED:
            self._telemetry.count("Requests", 1)  # It has no latency, because it has no answer.
        else:
            self._observe(scope, status, (time.perf_counter() - started) * 1e3)

    def _observe(self, scope: Scope, status: int, took_ms: float) -> None:
        self._telemetry.count("Requests", 1)
        if status >= 500:
            self._telemetry.count("Http5xx", 1)
        if scope["method"] == "POST":
            self._telemetry.observe("LatencyMs", took_ms)


async def _refusal(log: Log, request: Request, exc: Exception) -> Response:
    status = STATUS.get(type(exc), 500)  # type: ignore[arg-type]
    body: dict[str, Any] = {"error": type(exc).__name__}
    if isinstance(exc, errors.InvalidRequest):
        body = {"error": "ValidationError", "field": exc.field, "message": exc.message}
    response = _json(status, body)
    if status in (429, 503):
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    if status >= 429:
        path = request.scope["path"]  # Not request.url, which cannot be built from every Host header.
        log.warning("api.refused", status=status, error=str(exc), path=path, trace_id=trace_id(request))
    return response


async def _http_refusal(request: Request, exc: Exception) -> Response:
    """Answer 404 and 405."""
    assert isinstance(exc, HTTPException)
    response = _json(exc.status_code, {"error": exc.detail.replace(" ", "")})
    response.headers.update(exc.headers or {})
    return response


async def _hung_up(request: Request, exc: Exception) -> Response:
    """End a request whose client left before its end. It had no effect, and nobody is at fault."""
    return Response(status_code=CLIENT_CLOSED)


def _json(status: int, content: str | dict[str, Any]) -> Response:
    text = content if isinstance(content, str) else json.dumps(content, separators=(",", ":"))
    return Response(text, status, media_type="application/json")
