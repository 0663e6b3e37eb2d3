"""The api role's process: the application under uvicorn, and the order of its leaving.

On SIGTERM: readyz fails and answers ask for another connection (the load balancer is taking us out meanwhile), then
nothing new is accepted, requests in flight are finished, streams are closed with 1012, and the sender and the metrics
hand over what they hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
import uvloop

from paperbroker.api import READERS, Api, make_app
from paperbroker.logs import Log
from paperbroker.services.health import Readiness
from paperbroker.services.intake import Intake
from paperbroker.services.queries import Queries
from paperbroker.services.sender import Sender
from paperbroker.services.stream import Hub
from paperbroker.services.telemetry import Metrics
from paperbroker.settings import Settings
from paperbroker.storage.ledger import LedgerTables
from paperbroker.storage.queues import CommandQueue
from paperbroker.storage.tables import OrderTables

LEAVING_S = 0.5  # how long requests still come from a load balancer that has been told
FINISH_S = 3  # for the requests in flight
# Longer than the load balancer's idle time-out (60 s): it must be the one who closes, or it meets a closed connection.
KEEP_ALIVE_S = 75
FEED_READERS = 4


class _Server(uvicorn.Server):
    """uvicorn that leaves the signals to us: its own handling exits with the signal's code instead of 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(
    settings: Settings,
    *,
    orders: OrderTables,
    ledger: LedgerTables,
    queue: CommandQueue,
    metrics: Metrics,
    log: Log,
    stop_timeout_s: float,
) -> None:
    """Until SIGTERM or SIGINT."""
    sender = Sender(queue, orders, log)
    readiness = Readiness({"store": orders.probe, "queue": queue.probe})
    feed_readers = ThreadPoolExecutor(FEED_READERS, thread_name_prefix="feed")

    async def run_blocking(call: Any, /, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(feed_readers, call, *args)

    api = Api(
        markets=settings.markets,
        intake=Intake(orders, sender),
        queries=Queries(orders, ledger, settings.markets),
        hub=Hub(ledger, run_blocking, log),
        readiness=readiness,
        telemetry=metrics,
        log=log,
        readers=ThreadPoolExecutor(READERS, thread_name_prefix="reads"),
    )
    sender.start()
    metrics.start()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(make_app(api, readiness, metrics, log), settings, readiness, log))
    sender.stop(stop_timeout_s)
    metrics.stop(stop_timeout_s)


async def _serve(app: Any, settings: Settings, readiness: Readiness, log: Log) -> None:
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

    def leave() -> None:
        if not readiness.draining.is_set():
            log.info("task.draining")
            readiness.draining.set()
            loop.call_later(LEAVING_S, setattr, server, "should_exit", True)

    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, leave)
    log.info("task.started", port=settings.port)
    await server.serve()
