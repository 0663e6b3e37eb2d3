"""Test rig of PaperBroker: tables, a queue, builders of orders, and real processes that are stopped as ECS does."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paperbroker.domain.events import IntakeEvent
from paperbroker.domain.orders import NewOrder, OrderType, Side, TimeInForce
from paperbroker.logs import Log
from paperbroker.services.intake import Intake
from paperbroker.services.matcher import Matcher
from paperbroker.services.sender import Sender
from paperbroker.services.telemetry import Silent
from paperbroker.settings import Settings
from paperbroker.storage.ledger import LedgerTables
from paperbroker.storage.outbox import Outbox
from paperbroker.storage.queues import CommandQueue
from paperbroker.storage.tables import OrderTables
from tests.polling import wait_until

REGION = "us-east-1"
MARKETS = ("ACME", "BOLT")
SHARED_ENDPOINT = "PAPERBROKER_TEST_AWS"
READY_S_MAX = 15.0
STOP_S_MAX = 8.0
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Tables and a queue of one test, and the environment variables with which a task finds them."""

    settings: Settings
    dynamodb: Any
    sqs: Any
    env: dict[str, str]

    def items(self, table: str) -> list[dict[str, Any]]:
        """Return all items of a table as plain values."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [
            {name: int(v["N"]) if "N" in v else v["S"] for name, v in item.items()}
            for page in pages
            for item in page["Items"]
        ]

    def ledger(self, market: str) -> list[dict[str, Any]]:
        rows = [row for row in self.items(self.settings.tables.ledger) if row["market"] == market]
        return sorted(rows, key=lambda row: row["seq"])

    def accepted_ids(self, market: str = "ACME") -> list[str]:
        """Return the ids of the market's accepted orders in the order of the ledger."""
        return [row["orderId"] for row in self.ledger(market) if row["type"] == "accepted"]

    def outbox(self) -> list[dict[str, Any]]:
        return self.items(self.settings.tables.outbox)

    def limit_order_writes(self, units_per_s: int) -> None:
        """Limit the write capacity of the orders table; -1 removes the limit."""
        limit = {"MaxWriteRequestUnits": units_per_s}
        self.dynamodb.update_table(TableName=self.settings.tables.orders, OnDemandThroughput=limit)

    def queued(self) -> list[str]:
        """Receive and delete all messages; return their bodies.

        A received message blocks its group until it is deleted.
        """
        bodies: list[str] = []
        url = self.settings.queue_url
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(message["Body"])
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def match_all(self) -> None:
        """Run a matcher in this process until the queue is empty."""
        log = Log(logging.getLogger("test"))
        queue = CommandQueue(self.sqs, self.settings.queue_url)
        ledger = LedgerTables(self.dynamodb, self.settings.tables)
        matcher = Matcher(queue, ledger, Silent(), log, threading.Event())
        while messages := queue.receive():
            matcher.handle(messages, until=float("inf"))


class IntakeRig:
    """Intake without HTTP. As a context manager it runs the sender, which sends all waiting events on exit."""

    def __init__(self, stage: Stage) -> None:
        tables = OrderTables(stage.dynamodb, stage.settings.tables)
        log = Log(logging.getLogger("test"))
        outbox = Outbox(stage.dynamodb, stage.settings.tables)
        self._sender = Sender(CommandQueue(stage.sqs, stage.settings.queue_url), outbox, log)
        self.intake = Intake(tables, self._sender)

    def __enter__(self) -> IntakeRig:
        self._sender.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._sender.stop(STOP_S_MAX)


def new_order(
    n: int, *, key: str = "", side: Side = Side.BUY, client: str = "c1", symbol: str = "ACME", **changed: Any
) -> NewOrder:
    """Build limit order `n`: 5 lots at price 100."""
    fields: dict[str, Any] = {
        "client_id": client,
        "idempotency_key": key or f"k{n}",
        "order_id": f"o{n}",
        "symbol": symbol,
        "side": side,
        "type": OrderType.LIMIT,
        "tif": TimeInForce.GTC,
        "qty": 5,
        "price": 100,
    }
    return NewOrder(**(fields | changed))


def order_body(n: int = 1, **changed: Any) -> dict[str, Any]:
    """Build the JSON body of limit order `n` to buy 5 lots at price 100. A field that is None is left out."""
    base = {"clientId": "c1", "idempotencyKey": f"k{n}", "orderId": f"o{n}", "symbol": "ACME", "side": "BUY"}
    body = base | {"type": "LIMIT", "qty": 5, "price": 100} | changed
    return {name: value for name, value in body.items() if value is not None}


def order_event(n: int, **changed: Any) -> IntakeEvent:
    """Build the event of accepted limit order `n` to buy 1 lot at price 100."""
    fields: dict[str, Any] = {
        "event_id": f"e{n}",
        "type": "OrderAccepted",
        "market": "ACME",
        "order_id": f"o{n}",
        "client_id": f"c{n}",
        "idempotency_key": f"k{n}",
        "side": "BUY",
        "order_type": "LIMIT",
        "tif": "GTC",
        "qty": 1,
        "price": 100,
        "accepted_at_ns": 0,
    }
    return IntakeEvent(**(fields | changed))


def environment(**changed: str) -> dict[str, str]:
    """Return a task's smallest valid environment."""
    tables = {f"PB_{t}_TABLE": t for t in ("ORDERS", "OUTBOX", "LEDGER", "MARKETS", "POSITIONS", "APPLIED")}
    return {"AWS_REGION": REGION, "PB_MARKETS": "ACME,BOLT", "PB_QUEUE_URL": "q", **tables, **changed}


class RecordedTelemetry:
    """Telemetry that keeps what it gets."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.values: list[tuple[str, float]] = []

    def count(self, name: str, n: int) -> None:
        self.counts[name] += n

    def observe(self, name: str, value: float) -> None:
        self.values.append((name, value))


@dataclass(slots=True)
class Process:
    """A running role. `log` is the file with its output."""

    role: str
    port: int
    popen: subprocess.Popen[bytes]
    log: Path

    def call(self, method: str, path: str, body: Any = None, timeout_s: float = 10.0) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            reply = connection.getresponse()
            return Answer(status=reply.status, text=reply.read().decode(), headers=dict(reply.getheaders()))
        finally:
            connection.close()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.popen.send_signal(how)
        return self.popen.wait(STOP_S_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(role: str, env: dict[str, str], folder: Path, tree: Path = ROOT) -> Iterator[Process]:
    """Run a role from the sources in `tree` until it is ready, and kill it at the end if it still runs."""
    port = free_port()
    log = folder / f"{role}-{port}.log"
    with log.open("wb") as out:
        popen = subprocess.Popen(
            [sys.executable, "-m", "paperbroker.main", role],
            env={"PATH": os.environ["PATH"], **env, "PORT": str(port)},
            cwd=tree,
            stdout=out,
            stderr=out,
        )
    process = Process(role, port, popen, log)
    try:
        _wait_until_ready(process)
        yield process
    finally:
        if popen.poll() is None:
            popen.kill()
            popen.wait(STOP_S_MAX)


def _wait_until_ready(process: Process) -> None:
    def is_ready() -> bool:
        assert process.popen.poll() is None, f"{process.role} ended: {process.log.read_text()[-2000:]}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            return process.call("GET", "/readyz").status == 200
        return False

    wait_until(is_ready, f"{process.role} is ready", READY_S_MAX)
