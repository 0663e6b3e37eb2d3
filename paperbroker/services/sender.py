"""The fast way from intake to the queue: accepted events are sent in small batches from a thread of their own.

Owns no promise: whatever is dropped here (queue full, SQS away, process killed) is still in the outbox, and the relay
sends it. An outbox entry is deleted when the queue has confirmed its message, never before: from then on SQS keeps
the order, and the matcher deletes the message only when the order is in the ledger. The dead-letter queue is no leak
in practice: see `paperbroker.services.matcher`.
"""

from __future__ import annotations

import queue
import threading
import time

from paperbroker.domain.events import IntakeEvent
from paperbroker.errors import QueueUnavailable, StoreUnavailable
from paperbroker.logs import Log
from paperbroker.storage.queues import BATCH_MAX, CommandQueue
from paperbroker.storage.tables import OUTBOX_DELETE_MAX, OrderTables

WAITING_MAX = 1000
LINGER_S = 0.03  # how long the first event of a batch waits for company: a call costs more than the wait
FORGET_EVERY_S = 0.5  # well below the age at which the relay takes an entry for lost
IDLE_S = 0.25


class Sender:
    """`offer` from any thread; `stop` sends what is waiting."""

    def __init__(self, commands: CommandQueue, tables: OrderTables, log: Log) -> None:
        self._commands = commands
        self._tables = tables
        self._log = log
        self._waiting: queue.Queue[IntakeEvent] = queue.Queue(WAITING_MAX)
        self._sent: list[IntakeEvent] = []
        self._forget_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._stopping.set()
        self._thread.join(timeout_s)

    def offer(self, event: IntakeEvent) -> None:
        """Send soon; never blocks the request that it belongs to."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._log.warning("sender.left_to_relay", event_id=event.event_id, waiting=WAITING_MAX)

    def _run(self) -> None:
        while not (self._stopping.is_set() and self._waiting.empty()):
            batch = self._gather()
            if batch:
                self._send(batch)
            if self._sent and time.monotonic() >= self._forget_at:
                self._forget()
        self._forget()

    def _gather(self) -> list[IntakeEvent]:
        """The next batch: full, or as much as came within LINGER_S of its first event; empty if nothing came."""
        batch: list[IntakeEvent] = []
        wait_s = IDLE_S
        full_at = 0.0
        while len(batch) < BATCH_MAX:
            try:
                batch.append(self._waiting.get(timeout=wait_s))
            except queue.Empty:
                break
            full_at = full_at or time.monotonic() + LINGER_S
            wait_s = max(0.0, full_at - time.monotonic())
        return batch

    def _send(self, batch: list[IntakeEvent]) -> None:
        try:
            sent = self._commands.send(batch)
        except QueueUnavailable as exc:
            self._log.warning("sender.left_to_relay", events=len(batch), error=str(exc))
            return
        if len(sent) < len(batch):
            self._log.warning("sender.left_to_relay", events=len(batch) - len(sent))
        if not self._sent:
            self._forget_at = time.monotonic() + FORGET_EVERY_S
        self._sent += sent
        if len(self._sent) >= OUTBOX_DELETE_MAX:
            self._forget()

    def _forget(self) -> None:
        sent, self._sent = self._sent, []
        try:
            self._tables.forget(sent)
        except StoreUnavailable as exc:
            self._log.warning("sender.outbox_left_to_relay", events=len(sent), error=str(exc))
