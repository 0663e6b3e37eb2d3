"""What PaperBroker's tests stand on: a stage (tables, a queue) and its real processes, stopped as ECS would."""

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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """One set of tables and a queue of its own, and the environment that tells a task of them."""

    settings: Settings
    dynamodb: Any
    sqs: Any
    env: dict[str, str]

    def items(self, table: str) -> list[dict[str, Any]]:
        """Everything in a table, in plain values."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [
            {name: int(v["N"]) if "N" in v else v["S"] for name, v in item.items()}
            for page in pages
            for item in page["Items"]
        ]

    def ledger(self, market: str) -> list[dict[str, Any]]:
        rows = [row for row in self.items(self.settings.tables.ledger) if row["market"] == market]
        return sorted(rows, key=lambda row: row["seq"])

    def queued(self) -> list[str]:
        """The bodies that are in the queue; takes them out, because a group is locked while one of it is in hand."""
        bodies: list[str] = []
        url = self.settings.queue_url
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(message["Body"])
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def match_all(self) -> None:
        """Run a matcher here until the queue is empty."""
        log = Log(logging.getLogger("test"))
        queue = CommandQueue(self.sqs, self.settings.queue_url)
        ledger = LedgerTables(self.dynamodb, self.settings.tables)
        matcher = Matcher(queue, ledger, Silent(), log, threading.Event())
        while messages := queue.receive():
            matcher.handle(messages, until=float("inf"))


class IntakeRig:
    """Intake with its sender, without HTTP; leaving it sends what waits."""

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
    """A limit order for 5 at 100, number `n`."""
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


@dataclass(slots=True)
class Process:
    """One role on a port; `log` is what it printed."""

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


@contextlib.contextmanager
def running(role: str, env: dict[str, str], folder: Path, tree: Path = ROOT) -> Iterator[Process]:
    """The role as `tree` has it, ready; killed at the end if it still runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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


class BlackHole:
    """Accepts connections for AWS and answers nothing while `cut`; passes bytes through otherwise."""

    def __init__(self, endpoint: str) -> None:
        self._target = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                inbound, _ = self._listener.accept()
            except OSError:
                return
            outbound = socket.create_connection(self._target)
            for pair in ((inbound, outbound), (outbound, inbound)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self.cut.is_set():
                    continue  # as a blackholed route: the bytes are gone, the connection stands
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
