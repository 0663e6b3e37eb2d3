"""Serve PaperBroker over HTTP and WebSocket: routes, request bodies, and the status of each error.

Requests pass a bulkhead (`services.bulkhead`). A request that cannot be served in time gets 503 at once, because a
queue would only prolong the outage. One client may hold only a part of the bulkhead (429). Every answer comes within
REQUEST_S. A 503 after a write leaves the outcome unknown: resubmit under the same key to learn it.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from paperbroker import errors
from paperbroker.domain.orders import NewOrder, identifier, parse_cancel, parse_order
from paperbroker.logs import Log
from paperbroker.services.bulkhead import Bulkhead
from paperbroker.services.health import Readiness
from paperbroker.services.intake import Intake, Receipt
from paperbroker.services.queries import DEPTH_MAX, TRADES_MAX, Queries
from paperbroker.services.stream import UNKNOWN_MARKET, Hub
from paperbroker.services.telemetry import Telemetry

BODY_MAX_BYTES = 4096
RETRY_AFTER_S = 1
DEPTH_DEFAULT = 20
TRADES_DEFAULT = 100
SEQ_MAX = 2**53

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
        order = parse_order(await _body(request), self._markets)
        receipt = await self._writes.run(order.client_id, until, self._submit, order, _trace_id(request), until)
        return _json(201 if receipt.first else 200, receipt.answer)

    def _submit(self, order: NewOrder, trace_id: str, until: float) -> Receipt:
        """Submit and count the order here, because it is accepted even if its client has given up on the answer."""
        receipt = self._intake.submit(order, trace_id, until)
        if receipt.first:
            self._telemetry.count("OrdersAccepted", 1)
        return receipt

    async def cancel(self, request: Request) -> Response:
        until = self._writes.deadline()
        cancel = parse_cancel(await _body(request), request.path_params["order_id"])
        receipt = await self._writes.run(
            cancel.client_id, until, self._intake.cancel, cancel, _trace_id(request), until
        )
        return _json(202 if receipt.first else 200, receipt.answer)

    async def order(self, request: Request) -> Response:
        client_id = identifier(request.query_params, "clientId")
        return await self._read(self._queries.order, request.path_params["order_id"], client_id)

    async def book(self, request: Request) -> Response:
        market = self._market(request)
        depth = _query_int(request, "depth", DEPTH_DEFAULT, 1, DEPTH_MAX)
        return await self._read(self._queries.book, market, depth)

    async def trades(self, request: Request) -> Response:
        market = self._market(request)
        after = _query_int(request, "after", 0, 0, SEQ_MAX)
        limit = _query_int(request, "limit", TRADES_DEFAULT, 1, TRADES_MAX)
        return await self._read(self._queries.trades, market, after, limit)

    async def stream(self, websocket: WebSocket) -> None:
        await websocket.accept()
        market = websocket.path_params["symbol"]
        text = websocket.query_params.get("after", "0")
        if market not in self._markets:
            await websocket.close(UNKNOWN_MARKET, f"unknown market {market[:64]}")
        elif not text.isdecimal() or int(text) > SEQ_MAX:
            await websocket.close(UNKNOWN_MARKET, "after must be a ledger sequence")
        else:
            await self._stream(websocket, market, int(text))

    async def _stream(self, websocket: WebSocket, market: str, after: int) -> None:
        """Serve until the subscriber disconnects or the hub closes the stream."""
        serving = asyncio.create_task(self._hub.serve(_WebSocketSubscriber(websocket), market, after))
        listening = asyncio.create_task(_until_disconnected(websocket))
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

    def _market(self, request: Request) -> str:
        market = request.path_params["symbol"]
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
        await self._websocket.close(code, reason)


async def _until_disconnected(websocket: WebSocket) -> None:
    """Read and ignore what the subscriber sends until it disconnects."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
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
        exception_handlers={errors.PaperBrokerError: partial(_refusal, log)},
    )
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

        async def observed(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._readiness.draining.is_set():
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception:  # noqa: BLE001 - the outermost boundary: one bad request must not take the task down
            self._log.exception("api.unexpected", path=scope["path"])
            if status == 0:
                await _json(500, '{"error":"InternalError"}')(scope, receive, observed)
            status = 500
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
        log.warning("api.refused", status=status, error=str(exc), path=request.url.path, trace_id=_trace_id(request))
    return response


def _json(status: int, content: str | dict[str, Any]) -> Response:
    text = content if isinstance(content, str) else json.dumps(content, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


async def _body(request: Request) -> Any:
    """Return the request's JSON. Raises InvalidRequest if it is not JSON or too long."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_MAX_BYTES:
            raise errors.InvalidRequest("body", f"longer than {BODY_MAX_BYTES} bytes")
    try:
        return json.loads(bytes(data))
    except ValueError as exc:
        raise errors.InvalidRequest("body", "not JSON") from exc


def _query_int(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or not low <= int(text[:20]) <= high:
        raise errors.InvalidRequest(name, f"must be an integer from {low} to {high}")
    return int(text)


def _trace_id(request: Request) -> str:
    """Return the load balancer's trace id, if there is one, so that its logs and ours can be joined."""
    if not hasattr(request.state, "trace_id"):
        root = request.headers.get("x-amzn-trace-id", "").partition("Root=")[2].partition(";")[0]
        request.state.trace_id = root[:64] or uuid.uuid4().hex
    return request.state.trace_id
