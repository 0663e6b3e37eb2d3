"""The api role's process: the application under uvicorn, and the order of its leaving.

On SIGTERM: readyz fails and answers ask for another connection, until nobody sends anything any more: ECS has taken us
out of the load balancer before, and anybody else who stops this process leaves it to the load balancer to find out.
Then nothing new is accepted, requests in flight are finished, streams are closed with 1012, and the sender and the
metrics hand over what they hold.
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

WRITERS = 32  # as many as calls of 0.6 s need at some 50 requests a second
READERS = 8
QUIET_S = 0.5  # no request for so long: the load balancer sends none any more
# Two health checks, 5 s apart, that time out after 2 s. With FINISH_S it is less than the task's StopTimeout.
LEAVING_S_MAX = 12
FINISH_S = 3  # for the requests in flight
# Longer than the load balancer's idle time-out (60 s): it must be the one who closes, or it meets a closed connection.
KEEP_ALIVE_S = 75
FEED_READERS = 4


class _Server(uvicorn.Server):
    """uvicorn that leaves the signals to us: its own handling exits with the signal's code instead of 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: Settings, *, clients: Clients, metrics: Metrics, log: Log, stop_timeout_s: float) -> None:
    """Until SIGTERM or SIGINT."""
    flags = _flag_watch(settings, clients, log)
    writes = _bulkhead("writes", WRITERS, metrics)
    reads = _bulkhead("reads", READERS, metrics)
    metrics.gauge("BreakerOpen", lambda: max(bulkhead.breaker.take_was_open() for bulkhead in (writes, reads)))
    orders = OrderTables(_store(clients, metrics, writes, flags.store_delay_s if flags else None), settings.tables)
    # A second client: what readers, feeds and probes find says nothing of intake's calls, nor does the flag hold
    # them up, so that a task whose intake is shed stays in the load balancer.
    store = _store(clients, metrics, reads, None)
    ledger = LedgerTables(store, settings.tables)
    sender = Sender(_queue(settings, clients, metrics), Outbox(store, settings.tables), log)
    # Not the queue: orders are accepted without it.
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
    # One client may hold half of the places: a crowd of one must not keep the others out.
    places = 2 * threads
    return Bulkhead(
        name,
        threads=threads,
        waiting_max=threads,
        client_max=places // 2,
        breaker=Breaker(trials_max=threads),
        telemetry=metrics,
    )


def _store(clients: Clients, metrics: Metrics, bulkhead: Bulkhead, delay_s: Callable[[], float] | None) -> BaseClient:
    """A client whose calls a bulkhead's breaker hears of. One attempt: who asks again knows the time that is left."""
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


async def _serve(app: Observed, settings: Settings, readiness: Readiness, log: Log) -> None:
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="none",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FINISH_S,
    )
    server = _Server(config)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told.set)
    leaving = loop.create_task(_leave(told, app, server, readiness, log))
    log.info("task.started", port=settings.port)
    await server.serve()
    leaving.cancel()


def leave_at(told_at: float, asked_at: float) -> float:
    """When a server that was told to leave then, and asked for something last then, stops listening; seconds."""
    return min(max(told_at, asked_at) + QUIET_S, told_at + LEAVING_S_MAX)


async def _leave(told: asyncio.Event, app: Observed, server: uvicorn.Server, readiness: Readiness, log: Log) -> None:
    """Once told, fail readyz; end the server when no request has come for QUIET_S, or after LEAVING_S_MAX."""
    await told.wait()
    log.info("task.draining")
    readiness.draining.set()
    told_at = time.monotonic()
    # What is awaited is that nothing happens: there is no event for it.
    while (left_s := leave_at(told_at, app.asked_at) - time.monotonic()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(left_s)
    server.should_exit = True
