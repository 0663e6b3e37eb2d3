"""The matcher's loop: receive messages, sequence their events, delete the messages, until stopped.

A message is deleted only when its event is known to be in the ledger. A message that remains, because its delete
failed or its receipt had expired, is delivered again and recognised by its event id.

A matcher that was frozen resumes with expired receipts. Its deadline for these messages has passed, so it gives them
up. A commit that was under way is fenced by the market's sequence.

Why an outage does not move good orders to the dead-letter queue: a matcher that could not commit receives nothing
until a probe of the ledger succeeds. An outage costs each matcher one receive, and the queue allows many. Only a body
that is not an intake event is received until the queue moves it to the dead-letter queue.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Protocol

from paperbroker.domain.events import IntakeEvent
from paperbroker.errors import QueueUnavailable, StoreUnavailable
from paperbroker.logs import Log
from paperbroker.services.backoff import Backoff
from paperbroker.services.sequencer import Ledger, Outcome, Sequencer
from paperbroker.services.telemetry import Telemetry
from paperbroker.storage.queues import BATCH_MAX, VISIBILITY_S, Message

# A commit must not start when the receipt is about to expire: another matcher may receive the same messages.
VISIBILITY_MARGIN_S = 1.0
# Pause between two receives that were not full, so that a busy market's commands gather into fewer transactions.
PACE_S = 0.1
MARKETS_AT_ONCE = 8
LOOPS_MAX = 2
RETRY_FIRST_S = 0.2
RETRY_LIMIT_S = 2.0


class Commands(Protocol):
    def receive(self) -> list[Message]: ...

    def delete(self, messages: Sequence[Message]) -> None: ...


class Matcher:
    """Runs the loops of a matcher task."""

    def __init__(
        self, commands: Commands, ledger: Ledger, telemetry: Telemetry, log: Log, stopping: threading.Event
    ) -> None:
        self._commands = commands
        self._ledger = ledger
        self._log = log
        self._stopping = stopping
        self._sequencer = Sequencer(ledger, telemetry)
        self._pool = ThreadPoolExecutor(MARKETS_AT_ONCE, thread_name_prefix="market")
        self.ready = threading.Event()

    def run(self, markets: Sequence[str]) -> None:
        """Run until `stopping` is set; then finish the batches in hand and receive nothing more.

        LOOPS_MAX loops run in parallel, so that one market's commit does not wait for another's receive. An exception
        in one loop stops all and ends the task; ECS starts a new one.
        """
        self._warm(markets)
        with self._pool, ThreadPoolExecutor(LOOPS_MAX, thread_name_prefix="loop") as loops:
            for ended in as_completed([loops.submit(self._loop) for _ in range(LOOPS_MAX)]):
                self._stopping.set()
                ended.result()

    def _loop(self) -> None:
        backoff = Backoff(first_s=RETRY_FIRST_S, limit_s=RETRY_LIMIT_S)
        while not self._stopping.is_set():
            try:
                self._turn()
                backoff.reset()
            except (StoreUnavailable, QueueUnavailable) as exc:
                self._log.warning("matcher.dependency_unavailable", error=str(exc))
                self._wait_for_ledger(backoff)

    def _warm(self, markets: Sequence[str]) -> None:
        """Read every ledger before the first receive, because a long catch-up must not run while a market is locked."""
        backoff = Backoff(first_s=RETRY_FIRST_S, limit_s=RETRY_LIMIT_S)
        seqs: dict[str, int] = {}
        while len(seqs) < len(markets) and not self._stopping.is_set():
            market = markets[len(seqs)]
            try:
                seqs[market] = self._sequencer.catch_up(market)
                backoff.reset()
            except StoreUnavailable as exc:
                self._log.warning("matcher.catch_up_failed", market=market, error=str(exc))
                self._stopping.wait(backoff.next_s())
        self.ready.set()
        self._log.info("matcher.ready", seqs=seqs)

    def _turn(self) -> None:
        started = time.monotonic()
        messages = self._commands.receive()
        if not messages:
            return
        received = time.monotonic()
        # The visibility timeout starts no earlier than the request, so this deadline errs on the safe side, by at most
        # the long poll.
        self.handle(messages, until=started + VISIBILITY_S - VISIBILITY_MARGIN_S)
        self._log.debug(
            "matcher.turn",
            messages=len(messages),
            receive_ms=round((received - started) * 1e3, 1),
            handle_ms=round((time.monotonic() - received) * 1e3, 1),
        )
        if len(messages) < BATCH_MAX:
            self._stopping.wait(max(0.0, PACE_S - (time.monotonic() - started)))

    def handle(self, messages: Sequence[Message], until: float) -> None:
        """Sequence the messages of all markets in parallel; delete those that are done, even if one market failed."""
        by_market: dict[str, list[IntakeEvent]] = defaultdict(list)
        for message in messages:
            if message.event is None:
                self._log.error("matcher.not_an_event", body=message.body[:500])
            else:
                by_market[message.event.market].append(message.event)
        outcomes = self._apply_all(by_market, until)
        in_ledger = frozenset().union(*(outcome.done for outcome in outcomes))
        done = [message for message in messages if message.event and message.event.event_id in in_ledger]
        if done:
            self._delete(done)
        if len(done) < len(messages):
            self._log.warning("matcher.left_in_queue", messages=len(messages) - len(done))
        for outcome in outcomes:
            if outcome.failure is not None:
                raise outcome.failure

    def _delete(self, messages: Sequence[Message]) -> None:
        try:
            self._commands.delete(messages)
        except QueueUnavailable as exc:
            self._log.warning("matcher.not_deleted", messages=len(messages), error=str(exc))

    def _apply_all(self, by_market: dict[str, list[IntakeEvent]], until: float) -> list[Outcome]:
        if len(by_market) == 1:  # The common small batch needs no other thread.
            return [self._sequencer.apply(market, events, until) for market, events in by_market.items()]
        calls = [
            self._pool.submit(self._sequencer.apply, market, events, until) for market, events in by_market.items()
        ]
        return [call.result() for call in calls]

    def _wait_for_ledger(self, backoff: Backoff) -> None:
        """Wait until the ledger answers, so that no messages are received that could not be committed."""
        while not self._stopping.wait(backoff.next_s()):
            try:
                self._ledger.probe()
                return
            except StoreUnavailable as exc:
                self._log.warning("matcher.ledger_still_unavailable", error=str(exc))
