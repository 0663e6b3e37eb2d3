"""Run the api role: the application under uvicorn, and its graceful shutdown.

On SIGTERM readyz fails and answers carry `Connection: close`, until requests stop arriving. ECS deregisters a task
before it sends SIGTERM; after any other SIGTERM the load balancer has to notice first. Then the listener closes,
requests in flight are finished, streams are closed with 1012, and the sender and the metrics flush their buffers.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop

from paperbroker.api import Api, Observed, make_app
from paperbroker.logs import Log
from paperbroker.protocols.http import HttpProtocol
from paperbroker.protocols.limits import KEEP_ALIVE_S, MESSAGE_BYTES_MAX, sweep
from paperbroker.protocols.websocket import WebSocketProtocol
from paperbroker.services.breaker import Breaker
from paperbroker.services.bulkhead import Bulkhead
from paperbroker.services.flags import FlagWatch
from paperbroker.services.health import Readiness
from paperbroker.services.intake import Intake
from paperbroker.services.queries import Queries
from paperbroker.services.sender import Sender
from paperbroker.services.stream import Hub
from paperbroker.services.telemetry import Metrics
from paperbroker.settings import Settings
from paperbroker.storage.clients import PROMPT_CONNECT_TIMEOUT_S, PROMPT_READ_TIMEOUT_S, Clients
from paperbroker.storage.flags import FlagSession
from paperbroker.storage.ledger import LedgerTables
from paperbroker.storage.outbox import Outbox
from paperbroker.storage.queues import CommandQueue
from paperbroker.storage.tables import OrderTables
from paperbroker.storage.watch import Watch

if TYPE_CHECKING:
    from botocore.client import BaseClient

WRITERS = 32  # Enough for calls of 0.6 s at about 50 requests a second.
READERS = 8
QUIET_S = 0.5  # After this time without a request, the load balancer has stopped sending any.
# Two health checks, 5 s apart, each with a timeout of 2 s. Together with FINISH_S less than the task's StopTimeout.
DRAIN_S_MAX = 12
FINISH_S = 3  # For the requests in flight.
FEED_READERS = 4


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which exits with the signal's code instead of 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: Settings, *, clients: Clients, metrics: Metrics, log: Log, stop_timeout_s: float) -> None:
    """Serve until SIGTERM or SIGINT."""
    flags = _flag_watch(settings, clients, log)
    writes = _bulkhead("writes", WRITERS, metrics)
    reads = _bulkhead("reads", READERS, metrics)
    metrics.gauge("BreakerOpen", lambda: max(bulkhead.breaker.take_was_open() for bulkhead in (writes, reads)))
    orders = OrderTables(_store(clients, metrics, writes, flags.store_delay_s if flags else None), settings.tables)
    # A second client for readers, feeds and probes: their calls do not count for intake's breaker, and the delay flag
    # does not slow them, so that a task that sheds writes stays in the load balancer.
    store = _store(clients, metrics, reads, None)
    ledger = LedgerTables(store, settings.tables)
    sender = Sender(_queue(settings, clients, metrics), Outbox(store, settings.tables), log)
    # The queue is not probed: orders are accepted without it.
    readiness = Readiness({"store": OrderTables(store, settings.tables).probe})
    feed_readers = ThreadPoolExecutor(FEED_READERS, thread_name_prefix="feed")

    async def run_blocking(call: Any, /, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(feed_readers, call, *args)

    api = Api(
        markets=settings.markets,
        intake=Intake(orders, sender),
        queries=Queries(OrderTables(store, settings.tables), ledger, settings.markets),
        hub=Hub(ledger, run_blocking, log),
        readiness=readiness,
        telemetry=metrics,
        writes=writes,
        reads=reads,
    )
    sender.start()
    metrics.start()
    if flags is not None:
        flags.start()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(make_app(api, readiness, metrics, log), settings, readiness, log))
    if flags is not None:
        flags.stop()
    sender.stop(stop_timeout_s)
    metrics.stop(stop_timeout_s)


def _bulkhead(name: str, threads: int, metrics: Metrics) -> Bulkhead:
    # One client may hold half of the slots, so that it cannot lock out the others.
    slots = 2 * threads
    return Bulkhead(
        name,
        threads=threads,
        waiting_max=threads,
        client_max=slots // 2,
        breaker=Breaker(trials_max=threads),
        telemetry=metrics,
    )


def _store(clients: Clients, metrics: Metrics, bulkhead: Bulkhead, delay_s: Callable[[], float] | None) -> BaseClient:
    """Make a client that reports its calls to the bulkhead's breaker. One attempt: the retry budget decides on more."""
    return clients.make(
        "dynamodb",
        connect_timeout_s=PROMPT_CONNECT_TIMEOUT_S,
        read_timeout_s=PROMPT_READ_TIMEOUT_S,
        attempts=1,
        watch=Watch("Store", metrics, on_call=bulkhead.breaker.record_call, delay_s=delay_s),
    )


def _queue(settings: Settings, clients: Clients, metrics: Metrics) -> CommandQueue:
    sqs = clients.make(
        "sqs",
        connect_timeout_s=PROMPT_CONNECT_TIMEOUT_S,
        read_timeout_s=PROMPT_READ_TIMEOUT_S,
        attempts=1,
        watch=Watch("Queue", metrics),
    )
    return CommandQueue(sqs, settings.queue_url)


def _flag_watch(settings: Settings, clients: Clients, log: Log) -> FlagWatch | None:
    source = settings.flags
    if source is None:
        return None
    return FlagWatch(FlagSession(clients.make("appconfigdata", attempts=1), source), source.poll_s, log)


def uvicorn_config(app: Observed, host: str, port: int) -> uvicorn.Config:
    """Configure uvicorn to serve `app` over the bounded protocols."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="none",
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=MESSAGE_BYTES_MAX,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # Nothing here asks for the client's address.
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FINISH_S,
    )


async def _serve(app: Observed, settings: Settings, readiness: Readiness, log: Log) -> None:
    server = _Server(uvicorn_config(app, settings.host, settings.port))
    stop_requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop_requested.set)
    draining = loop.create_task(_drain(stop_requested, app, server, readiness, log))
    sweeping = loop.create_task(sweep(server.server_state.connections))
    log.info("task.started", port=settings.port)
    await server.serve()
    draining.cancel()
    sweeping.cancel()


def stop_listening_at(signalled_at: float, last_request_at: float) -> float:
    """Return when a draining server stops listening (s), given the times of its stop signal and of its last request."""
    return min(max(signalled_at, last_request_at) + QUIET_S, signalled_at + DRAIN_S_MAX)


async def _drain(
    stop_requested: asyncio.Event, app: Observed, server: uvicorn.Server, readiness: Readiness, log: Log
) -> None:
    """On the stop signal fail readyz; stop the server after QUIET_S without a request, or after DRAIN_S_MAX."""
    await stop_requested.wait()
    log.info("task.draining")
    readiness.draining.set()
    signalled_at = time.monotonic()
    # There is no event for the absence of requests, so this polls.
    while (left_s := stop_listening_at(signalled_at, app.last_request_at) - time.monotonic()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(left_s)
    server.should_exit = True
