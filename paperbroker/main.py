"""The composition root: `python -m paperbroker.main api|matcher|relay`. One process runs one role.

On SIGTERM a role stops taking work, finishes what it has, flushes its buffers and exits 0 within the task's stop
timeout.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from paperbroker import logs, settings
from paperbroker.errors import PaperBrokerError
from paperbroker.logs import Log
from paperbroker.services.health import HealthServer, Readiness
from paperbroker.services.telemetry import Metrics, availability_zone
from paperbroker.settings import Settings
from paperbroker.storage.clients import Clients
from paperbroker.storage.ledger import LedgerTables
from paperbroker.storage.outbox import Outbox
from paperbroker.storage.queues import RECEIVE_TIMEOUT_S, CommandQueue
from paperbroker.storage.watch import Watch

if TYPE_CHECKING:
    from botocore.client import BaseClient

STOP_TIMEOUT_S = 1.5  # For each background thread to flush its buffer.
USAGE_EXIT_CODE = 2
ALWAYS = ("StoreErrors", "StoreThrottled", "QueueErrors")
COUNTS = {
    "api": ("Requests", "Http5xx", "OrdersAccepted", "Shed"),
    "matcher": ("Fills",),
    "relay": ("Relayed",),
}


class Task:
    """What every role needs. Each role makes its own clients with its own timeouts."""

    def __init__(self, role: str, s: Settings) -> None:
        self.settings = s
        self.log: Log = logs.configure(s.log_level, run_id=s.run_id, component=role, task=_task_id(s.metadata_uri))
        self.clients = Clients(s.region)
        self.metrics = Metrics(
            self.clients.make("cloudwatch", attempts=1),
            namespace=s.metrics_namespace,
            env=s.env,
            component=role,
            zone=availability_zone(s.metadata_uri, self.log),
            log=self.log,
            counts=(*COUNTS[role], *ALWAYS),
        )

    def queue(self, **timeouts: Any) -> CommandQueue:
        # One attempt: the users of the queue have retries of their own.
        sqs = self.clients.make("sqs", attempts=1, watch=Watch("Queue", self.metrics), **timeouts)
        return CommandQueue(sqs, self.settings.queue_url)

    def store(self) -> BaseClient:
        return self.clients.make("dynamodb", watch=Watch("Store", self.metrics))


def _run_matcher(task: Task) -> None:
    from paperbroker.services.matcher import Matcher

    stopping = threading.Event()
    ledger = LedgerTables(task.store(), task.settings.tables)
    queue = task.queue(read_timeout_s=RECEIVE_TIMEOUT_S)
    matcher = Matcher(queue, ledger, task.metrics, task.log, stopping)
    readiness = Readiness({"store": ledger.probe, "queue": queue.probe}, matcher.ready.is_set)
    _run_loop(task, stopping, readiness, lambda: matcher.run(task.settings.markets))


def _run_relay(task: Task) -> None:
    from paperbroker.services.relay import Relay

    stopping = threading.Event()
    store, tables, queue = task.store(), task.settings.tables, task.queue()
    outbox = Outbox(store, tables)
    relay = Relay(queue, outbox, task.settings.markets, task.metrics, task.log, stopping)
    probes = {"store": LedgerTables(store, tables).probe, "queue": queue.probe}
    _run_loop(task, stopping, Readiness(probes, relay.ready.is_set), relay.run)


def _run_loop(task: Task, stopping: threading.Event, readiness: Readiness, run: Callable[[], None]) -> None:
    """Run a role without an HTTP interface: its loop in the main thread, its health server beside it."""
    health = HealthServer(task.settings.host, task.settings.port, readiness)

    def stop(signum: int, frame: object) -> None:
        readiness.draining.set()
        stopping.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    health.start()
    task.metrics.start()
    task.log.info("task.started", port=task.settings.port)
    run()
    task.metrics.stop(STOP_TIMEOUT_S)
    health.stop()


def _run_api(task: Task) -> None:
    from paperbroker.serving import serve

    serve(task.settings, clients=task.clients, metrics=task.metrics, log=task.log, stop_timeout_s=STOP_TIMEOUT_S)


ROLES: dict[str, Callable[[Task], None]] = {"api": _run_api, "matcher": _run_matcher, "relay": _run_relay}


def _task_id(metadata_uri: str) -> str:
    return metadata_uri.rstrip("/").rpartition("/")[2]


def main(argv: Sequence[str]) -> int:
    if len(argv) != 1 or argv[0] not in ROLES:
        sys.stderr.write(f"usage: python -m paperbroker.main {'|'.join(ROLES)}\n")
        return USAGE_EXIT_CODE
    try:
        task = Task(argv[0], settings.from_environment(os.environ))
    except PaperBrokerError as exc:
        sys.stderr.write(f"{type(exc).__name__}: {exc}\n")
        return USAGE_EXIT_CODE
    ROLES[argv[0]](task)
    task.log.info("task.stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
