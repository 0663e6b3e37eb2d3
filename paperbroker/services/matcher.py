"""Sequencing and matching: messages in, committed ledger events out, each intake event's effect exactly once.

Owns the order of things: apply what is new, commit, then delete the message. Must not know SQS or DynamoDB, only what
behaves like them.

Why it is safe to kill, to stall and to run twice. A commit is one transaction, conditional on the market's sequence
(the fence) and on each event's mark (applied before?). Whoever commits second, because his receipt is stale, his
message came again or he never saw the first reply, is refused; he reads on from the ledger and finds what is left to
do. A message is deleted only when its event is known to be in the ledger.

Why an outage does not push good orders into the dead-letter queue. A matcher that could not commit does not receive
again until a probe of the ledger succeeds, so an outage costs each matcher one receive, not one every few seconds;
the queue allows many. Only a body that is no intake event is received until the queue moves it away.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Protocol

from paperbroker.domain.book import Book
from paperbroker.domain.events import IntakeEvent, IntakeType, LedgerEvent, LedgerType
from paperbroker.domain.matching import match
from paperbroker.domain.postings import Postings
from paperbroker.errors import AlreadyApplied, FenceLost, QueueUnavailable, StoreUnavailable
from paperbroker.logs import Log
from paperbroker.services.backoff import Backoff
from paperbroker.services.replica import LedgerReader, Replica
from paperbroker.services.telemetry import Telemetry
from paperbroker.storage.ledger import TRANSACTION_ITEMS_MAX, Commit
from paperbroker.storage.queues import BATCH_MAX, VISIBILITY_S, Message

# Fences lost in a row before a batch is given back; with one rival at work a second try nearly always holds.
COMMITS_MAX = 6
# A commit must not start when the receipt is about to lapse: a rival may have the same messages by then.
VISIBILITY_MARGIN_S = 1.0
# Between two receives that were not full: lets a busy market's commands gather into fewer transactions.
PACE_S = 0.1
MARKETS_AT_ONCE = 8
LOOPS_MAX = 2


class Ledger(LedgerReader, Protocol):
    def commit(self, commit: Commit) -> None: ...

    def probe(self) -> None: ...


class Commands(Protocol):
    def receive(self) -> list[Message]: ...

    def delete(self, messages: Sequence[Message]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The ids of the events that are known to be in the ledger, and what kept the others out, if it was the store.
    Neither done nor failed: the receipt was about to lapse, or a rival keeps committing."""

    done: frozenset[str]
    failure: StoreUnavailable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    commit: Commit
    book: Book
    commands: tuple[IntakeEvent, ...]


class Sequencer:
    """Applies intake events of one market at a time to its ledger. The loop around it is `Matcher`."""

    def __init__(self, ledger: Ledger, telemetry: Telemetry, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._ledger = ledger
        self._telemetry = telemetry
        self._now_ns = now_ns
        self._replicas: dict[str, Replica] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._contended: set[str] = set()

    def replica(self, market: str) -> Replica:
        return self._replicas.setdefault(market, Replica(market))

    def catch_up(self, market: str) -> int:
        """Read the market's ledger to its end, before the first message needs it; where that is."""
        with self._locks[market]:
            replica = self.replica(market)
            replica.catch_up(self._ledger)
            return replica.seq

    def apply(self, market: str, commands: Sequence[IntakeEvent], until: float = float("inf")) -> Outcome:
        """Commit what is new among `commands`, in order, trying until `until` on the monotonic clock.

        The queue gives one market's messages to one receiver at a time, so the lock is free but when a receipt has
        lapsed.
        """
        with self._locks[market]:
            return self._apply(self.replica(market), commands, until)

    def _apply(self, replica: Replica, commands: Sequence[IntakeEvent], until: float) -> Outcome:
        done: set[str] = set()
        lost = 0
        try:
            while lost < COMMITS_MAX and time.monotonic() < until:
                if replica.market in self._contended:
                    self._look_around(replica)
                done |= {c.event_id for c in commands if replica.knows(c.event_id)}
                todo = {c.event_id: c for c in commands if c.event_id not in done}
                if not todo:
                    break
                try:
                    done |= self._commit(replica, _plan(replica, list(todo.values()), self._now_ns()))
                except FenceLost:
                    lost += 1
                    self._contended.add(replica.market)
        except StoreUnavailable as exc:
            self._contended.add(replica.market)  # it may have been written: read before the next plan
            return Outcome(done=frozenset(done), failure=exc)
        return Outcome(done=frozenset(done))

    def _look_around(self, replica: Replica) -> None:
        """Read before planning, as long as a rival keeps committing here; plan optimistically otherwise."""
        if replica.catch_up(self._ledger) == 0:
            self._contended.discard(replica.market)

    def _commit(self, replica: Replica, plan: _Plan) -> frozenset[str]:
        """The ids that are known to be in the ledger now: the plan's, or those for whose sake it was refused."""
        try:
            self._ledger.commit(plan.commit)
        except AlreadyApplied as exc:
            replica.remember(exc.event_ids)
            return exc.event_ids
        replica.adopt(plan.book, plan.commit.after_seq + len(plan.commit.events), plan.commit.event_ids)
        self._report(plan)
        return frozenset(plan.commit.event_ids)

    def _report(self, plan: _Plan) -> None:
        now_ns = self._now_ns()
        accepted = {c.order_id: c.accepted_at_ns for c in plan.commands if c.type == IntakeType.ORDER_ACCEPTED}
        for command in plan.commands:
            self._telemetry.observe("MatcherLagMs", (now_ns - command.accepted_at_ns) / 1e6)
        filled: set[str] = set()
        for event in plan.commit.events:
            if event.type == LedgerType.FILL:
                self._telemetry.count("Fills", 1)
                if event.taker_order_id not in filled and event.taker_order_id in accepted:
                    filled.add(event.taker_order_id)
                    waited_ms = (now_ns - accepted[event.taker_order_id]) / 1e6
                    self._telemetry.observe("TimeToFirstFillMs", waited_ms)


def _plan(replica: Replica, commands: Sequence[IntakeEvent], ts_ns: int) -> _Plan:
    """As many commands, in order, as fit one transaction; the first one always does (`FILLS_MAX` sees to it)."""
    book, postings, events = replica.book.draft(), Postings(), list[LedgerEvent]()
    taken: list[IntakeEvent] = []
    plan: _Plan | None = None
    for command in commands:
        new = match(book, command, seq=replica.seq + len(events), ts_ns=ts_ns)
        for event in new:
            book.apply(event)
        events += new
        postings.post(new, book)
        taken.append(command)
        commit = Commit(
            market=replica.market,
            after_seq=replica.seq,
            events=tuple(events),
            postings=postings,
            event_ids=tuple(c.event_id for c in taken),
        )
        if commit.items > TRANSACTION_ITEMS_MAX:
            # Planned one too many: plan again without it. Rare, so simpler than undoing.
            return _plan(replica, commands[: len(taken) - 1], ts_ns)
        plan = _Plan(commit=commit, book=book, commands=tuple(taken))
    assert plan is not None, "nothing to plan"
    return plan


class Matcher:
    """The task: receive, sequence, delete, until stopped."""

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
        """Until `stopping` is set; then the batches in hand are finished, and nothing more is received.

        LOOPS_MAX of them, so that one market's commit does not wait for another's receive. A loop that breaks stops
        them all: its exception ends the task, and ECS starts another.
        """
        self._warm(markets)
        with self._pool, ThreadPoolExecutor(LOOPS_MAX, thread_name_prefix="loop") as loops:
            for ended in as_completed([loops.submit(self._loop) for _ in range(LOOPS_MAX)]):
                self._stopping.set()
                ended.result()

    def _loop(self) -> None:
        backoff = Backoff(first_s=0.2, limit_s=5.0)
        while not self._stopping.is_set():
            try:
                self._turn()
                backoff.reset()
            except (StoreUnavailable, QueueUnavailable) as exc:
                self._log.warning("matcher.dependency_unavailable", error=str(exc))
                self._wait_for_ledger(backoff)

    def _warm(self, markets: Sequence[str]) -> None:
        """Read every ledger before the first receive: a long catch-up must not happen while a market is locked."""
        backoff = Backoff(first_s=0.2, limit_s=5.0)
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
        # The lock runs at the earliest from when we asked, so this is on the safe side by at most the long poll.
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
        """Sequence the messages, markets side by side; delete what is done, even if one market failed."""
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
            self._commands.delete(done)
        if len(done) < len(messages):
            self._log.warning("matcher.left_in_queue", messages=len(messages) - len(done))
        for outcome in outcomes:
            if outcome.failure is not None:
                raise outcome.failure

    def _apply_all(self, by_market: dict[str, list[IntakeEvent]], until: float) -> list[Outcome]:
        if len(by_market) == 1:  # no hand-over between threads for the common small batch
            return [self._sequencer.apply(market, events, until) for market, events in by_market.items()]
        calls = [
            self._pool.submit(self._sequencer.apply, market, events, until) for market, events in by_market.items()
        ]
        return [call.result() for call in calls]

    def _wait_for_ledger(self, backoff: Backoff) -> None:
        """Do not take messages that could not be committed."""
        while not self._stopping.wait(backoff.next_s()):
            try:
                self._ledger.probe()
                return
            except StoreUnavailable as exc:
                self._log.warning("matcher.ledger_still_unavailable", error=str(exc))
