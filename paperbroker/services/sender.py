"""Send accepted events from intake to the queue in small batches, from a background thread.

The sender gives no guarantee. An event that it drops (buffer full, SQS unreachable for long, process killed) is still
in the outbox, and the relay sends it. An outbox entry is deleted only after the queue has confirmed its message. From
then on SQS keeps the event, and the matcher deletes the message only when the event is in the ledger. Why good events
do not end in the dead-letter queue: see `paperbroker.services.matcher`.

While SQS does not answer, events are held and retried in order until they are LOST_AFTER_S old. Then the relay sends
them, and holding them longer would only send them twice.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable

from paperbroker.domain.events import IntakeEvent
from paperbroker.errors import QueueUnavailable, StoreUnavailable
from paperbroker.logs import Log
from paperbroker.services.backoff import Backoff
from paperbroker.storage.outbox import DELETE_MAX, Outbox
from paperbroker.storage.queues import BATCH_MAX, CommandQueue

# An outbox entry that is older than this was not sent by its intake task, which needs a fraction of this time.
LOST_AFTER_S = 3.0
WAITING_MAX = 1000
LINGER_S = 0.03  # How long the first event of a batch waits for others: a call costs more than the wait.
FORGET_EVERY_S = 0.5  # Well below LOST_AFTER_S.
IDLE_S = 0.25
RETRY_FIRST_S = 0.1
RETRY_LIMIT_S = 1.0


class Sender:
    """Call `offer` from any thread. `stop` sends the events that are waiting."""

    def __init__(self, commands: CommandQueue, outbox: Outbox, log: Log) -> None:
        self._commands = commands
        self._outbox = outbox
        self._log = log
        self._waiting: queue.Queue[IntakeEvent] = queue.Queue(WAITING_MAX)
        self._held: list[IntakeEvent] = []
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
        """Queue the event for sending; never blocks the caller."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._log.warning("sender.left_to_relay", event_id=event.event_id, waiting=WAITING_MAX)

    def _run(self) -> None:
        backoff = Backoff(first_s=RETRY_FIRST_S, limit_s=RETRY_LIMIT_S)
        while self._held or not (self._stopping.is_set() and self._waiting.empty()):
            batch = self._take_held() or self._gather()
            try:
                if batch:
                    self._send(batch)
                    backoff.reset()
            except QueueUnavailable as exc:
                self._hold(batch, exc)
                if self._stopping.wait(backoff.next_s()):
                    break
            if self._sent and time.monotonic() >= self._forget_at:
                self._forget()
        self._forget()

    def _take_held(self) -> list[IntakeEvent]:
        batch, self._held = self._held[:BATCH_MAX], self._held[BATCH_MAX:]
        return batch

    def _gather(self) -> list[IntakeEvent]:
        """Return the next batch: full, or what arrived within LINGER_S of its first event, or empty."""
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
        sent = self._commands.send(batch)
        if len(sent) < len(batch):
            self._log.warning("sender.left_to_relay", events=len(batch) - len(sent))
        if not self._sent:
            self._forget_at = time.monotonic() + FORGET_EVERY_S
        self._sent += sent
        if len(self._sent) >= DELETE_MAX:
            self._forget()

    def _hold(self, batch: list[IntakeEvent], why: QueueUnavailable) -> None:
        """Keep the events younger than LOST_AFTER_S, oldest first: this batch, those held behind it, and new ones."""
        events = [*batch, *self._held, *self._all_waiting()]
        lost_before_ns = time.time_ns() - int(LOST_AFTER_S * 1e9)
        self._held = [event for event in events if event.accepted_at_ns > lost_before_ns][:WAITING_MAX]
        left = len(events) - len(self._held)
        self._log.warning("sender.queue_unavailable", held=len(self._held), left_to_relay=left, error=str(why))

    def _all_waiting(self) -> Iterable[IntakeEvent]:
        for _ in range(self._waiting.qsize()):
            yield self._waiting.get_nowait()  # Only this thread takes from the queue.

    def _forget(self) -> None:
        sent, self._sent = self._sent, []
        try:
            self._outbox.forget(sent)
        except StoreUnavailable as exc:
            self._log.warning("sender.outbox_left_to_relay", events=len(sent), error=str(exc))
