"""Send outbox entries that intake did not send itself, because its task died or SQS was unreachable.

A market's entries are sent in order of acceptance, several markets in parallel. Several relays may run, and two of them
may send the same event. SQS drops the second message if it comes within five minutes. The matcher recognises a later
one by its event id.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from paperbroker.domain.events import IntakeEvent
from paperbroker.errors import QueueUnavailable, StoreUnavailable
from paperbroker.logs import Log
from paperbroker.services.backoff import Backoff
from paperbroker.services.sender import LOST_AFTER_S
from paperbroker.services.telemetry import Telemetry
from paperbroker.storage.outbox import Outbox, Page
from paperbroker.storage.queues import BATCH_MAX, CommandQueue

TICK_S = 2.0
BACKLOG_PAUSE_S = 0.2  # After a sweep that found entries, because a backlog takes several sweeps.
RETRY_FIRST_S = 0.5
RETRY_LIMIT_S = 3.0
PAGES_MAX = 10  # Pages of entries for each market in one sweep. The rest waits for the next sweep.
MARKETS_AT_ONCE = 8
UNREADABLE_MAX = 1000  # Unreadable entries that are logged. Their ids are kept, so that each is logged once.


class Relay:
    """Sweep the outbox every TICK_S until stopped."""

    def __init__(
        self,
        commands: CommandQueue,
        outbox: Outbox,
        markets: Sequence[str],
        telemetry: Telemetry,
        log: Log,
        stopping: threading.Event,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._commands = commands
        self._outbox = outbox
        self._markets = frozenset(markets)
        self._telemetry = telemetry
        self._log = log
        self._stopping = stopping
        self._now_ns = now_ns
        self._pool = ThreadPoolExecutor(MARKETS_AT_ONCE, thread_name_prefix="market")
        self._reported: dict[str, None] = {}
        self.ready = threading.Event()

    def run(self) -> None:
        tick = Backoff(first_s=TICK_S, limit_s=TICK_S)
        retry = Backoff(first_s=RETRY_FIRST_S, limit_s=RETRY_LIMIT_S)
        while not self._stopping.is_set():
            try:
                pause_s = BACKLOG_PAUSE_S if self.sweep() else tick.next_s()
                self.ready.set()
                retry.reset()
            except (StoreUnavailable, QueueUnavailable) as exc:
                pause_s = retry.next_s()
                self._log.warning("relay.dependency_unavailable", error=str(exc))
            self._stopping.wait(pause_s)

    def sweep(self) -> int:
        """Send every entry that is older than LOST_AFTER_S; return how many."""
        before_ns = self._now_ns() - int(LOST_AFTER_S * 1e9)
        found = self._outbox.markets_older_than(before_ns)
        if not found:
            return 0
        # Drain all markets. The scan stops at the first entries it finds, so other markets may have entries too.
        drains = [self._pool.submit(self._drain, market, before_ns) for market in sorted(found | self._markets)]
        failures = [failure for drain in drains if (failure := drain.exception()) is not None]
        if failures:
            raise failures[0]
        return sum(drain.result() for drain in drains)

    def _drain(self, market: str, before_ns: int) -> int:
        sent = 0
        for page in self._outbox.older_than(market, before_ns, PAGES_MAX):
            if self._stopping.is_set():
                break
            self._report(market, page)
            sent += self._relay(page.events)
        return sent

    def _relay(self, events: Sequence[IntakeEvent]) -> int:
        """Send in order and delete the entries that the queue confirmed, even if it stops answering halfway."""
        sent: list[IntakeEvent] = []
        try:
            for start in range(0, len(events), BATCH_MAX):
                sent += self._commands.send(events[start : start + BATCH_MAX])
        finally:
            if sent:
                self._telemetry.count("Relayed", len(sent))
                self._log.info("relay.sent", events=len(sent), of=len(events), first_event_id=events[0].event_id)
                self._outbox.forget(sent)
        return len(sent)

    def _report(self, market: str, page: Page) -> None:
        """Log each unreadable entry once, and go on, because the other entries must still be sent."""
        for event_id in page.unreadable:
            if event_id not in self._reported and len(self._reported) < UNREADABLE_MAX:
                self._reported[event_id] = None
                self._log.error("relay.unreadable_entry", market=market, event_id=event_id)
