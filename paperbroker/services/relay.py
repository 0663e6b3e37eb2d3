"""The slow way from the outbox to the queue, for events that intake did not hand over: it died, or SQS was away.

Two relays may run: a message sent twice is dropped by the queue, and one that comes through anyway (the queue forgets
after five minutes) is known to the matcher by its event id. Must not know what the events mean.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from paperbroker.domain.events import IntakeEvent
from paperbroker.errors import QueueUnavailable, StoreUnavailable
from paperbroker.logs import Log
from paperbroker.services.backoff import Backoff
from paperbroker.services.telemetry import Telemetry
from paperbroker.storage.queues import BATCH_MAX, CommandQueue
from paperbroker.storage.tables import OrderTables

LOST_AFTER_S = 3.0  # intake hands over within a fraction of this
TICK_S = 2.0
PAGES_MAX = 10  # a tick's bound; the rest waits for the next tick


class Relay:
    """Looks every TICK_S, until stopped."""

    def __init__(
        self,
        commands: CommandQueue,
        tables: OrderTables,
        telemetry: Telemetry,
        log: Log,
        stopping: threading.Event,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._commands = commands
        self._tables = tables
        self._telemetry = telemetry
        self._log = log
        self._stopping = stopping
        self._now_ns = now_ns
        self.ready = threading.Event()

    def run(self) -> None:
        backoff = Backoff(first_s=TICK_S, limit_s=15.0)
        while not self._stopping.is_set():
            try:
                self.sweep()
                self.ready.set()
                backoff.reset()
            except (StoreUnavailable, QueueUnavailable) as exc:
                self._log.warning("relay.dependency_unavailable", error=str(exc))
            self._stopping.wait(backoff.next_s())

    def sweep(self) -> int:
        """Send every entry that is old enough to be lost; how many that were."""
        before_ns = self._now_ns() - int(LOST_AFTER_S * 1e9)
        sent = 0
        for page in self._tables.outbox_older_than(before_ns, PAGES_MAX):
            for start in range(0, len(page), BATCH_MAX):
                if self._stopping.is_set():
                    return sent
                sent += self._relay(page[start : start + BATCH_MAX])
        return sent

    def _relay(self, events: list[IntakeEvent]) -> int:
        done = self._commands.send(events)
        self._tables.forget(done)
        self._telemetry.count("Relayed", len(done))
        self._log.info("relay.sent", events=len(done), of=len(events), first_event_id=events[0].event_id)
        return len(done)
