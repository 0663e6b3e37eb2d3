"""The composition root: `python -m paperbroker.main api|matcher|relay`. One process, one role.

Owns the wiring, the signals and the order of stopping. SIGTERM: stop taking work, finish what is in hand, hand over
what is buffered, exit 0, all within the task's stop time-out.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from paperbroker import logs, settings
from paperbroker.errors import PaperBrokerError
from paperbroker.logs import Log
from paperbroker.services.health import HealthServer, Readiness
from paperbroker.services.telemetry import Metrics, availability_zone
from paperbroker.settings import Settings
from paperbroker.storage.clients import Clients
from paperbroker.storage.ledger import LedgerTables
from paperbroker.storage.queues import RECEIVE_TIMEOUT_S, CommandQueue
from paperbroker.storage.tables import OrderTables

STOP_TIMEOUT_S = 1.5  # for each background thread to hand over what it holds
USAGE_EXIT_CODE = 2
COUNTS = {"api": ("Requests", "Http5xx", "OrdersAccepted"), "matcher": ("Fills",), "relay": ("Relayed",)}


class Task:
    """What every role needs."""

    def __init__(self, role: str, s: Settings) -> None:
        self.settings = s
        self.log: Log = logs.configure(s.log_level, run_id=s.run_id, component=role, task=_task_id(s.metadata_uri))
        clients = Clients(s.region)
        dynamodb = clients.make("dynamodb")
        self.orders = OrderTables(dynamodb, s.tables)
        self.ledger = LedgerTables(dynamodb, s.tables)
        self.queue = CommandQueue(clients.make("sqs", read_timeout_s=RECEIVE_TIMEOUT_S), s.queue_url)
        self.metrics = Metrics(
            clients.make("cloudwatch"),
            namespace=s.metrics_namespace,
            env=s.env,
            component=role,
            zone=availability_zone(s.metadata_uri, self.log),
            log=self.log,
            counts=COUNTS[role],
        )


def _run_matcher(task: Task) -> None:
    from paperbroker.services.matcher import Matcher

    stopping = threading.Event()
    matcher = Matcher(task.queue, task.ledger, task.metrics, task.log, stopping)
    _run_loop(task, stopping, matcher.ready, lambda: matcher.run(task.settings.markets))


def _run_relay(task: Task) -> None:
    from paperbroker.services.relay import Relay

    stopping = threading.Event()
    relay = Relay(task.queue, task.orders, task.metrics, task.log, stopping)
    _run_loop(task, stopping, relay.ready, relay.run)


def _run_loop(task: Task, stopping: threading.Event, ready: threading.Event, run: Callable[[], None]) -> None:
    """A role without an HTTP interface: its loop in the main thread, its health beside it."""
    readiness = Readiness({"store": task.ledger.probe, "queue": task.queue.probe}, ready.is_set)
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

    serve(
        task.settings,
        orders=task.orders,
        ledger=task.ledger,
        queue=task.queue,
        metrics=task.metrics,
        log=task.log,
        stop_timeout_s=STOP_TIMEOUT_S,
    )


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
