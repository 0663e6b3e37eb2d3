"""Apply intake events to a market's ledger: each event exactly once, even with competing matchers.

Why a matcher may be killed, frozen or run twice: a commit is one transaction, conditional on the market's sequence
(the fence) and on a mark for each event (not applied before). The second of two commits is refused, whether its
receipt is stale, its message was delivered again or the first reply was lost. Its matcher reads on from the ledger and
continues with the events that are left.

A cancel may overtake its order. Intake accepts a cancel only for an accepted order, but the two may be sent by
different tasks, and the order's message may be late (its task cannot reach the queue and the relay sends it). So an
order that the ledger does not know is looked up. If it was accepted and not yet sequenced, it is sequenced before its
cancel. Its own message is then recognised as applied.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from paperbroker.domain.book import Book
from paperbroker.domain.events import IntakeEvent, IntakeType, LedgerEvent, LedgerType
from paperbroker.domain.matching import match
from paperbroker.domain.postings import Postings
from paperbroker.errors import AlreadyApplied, FenceLost, StoreContended, StoreThrottled, StoreUnavailable
from paperbroker.services.backoff import FULL, Backoff
from paperbroker.services.replica import LedgerReader, Replica
from paperbroker.services.telemetry import Telemetry
from paperbroker.storage.ledger import TRANSACTION_ITEMS_MAX, Commit

# Refused commits in a row before a batch is given back. With one competing matcher the second try nearly always
# succeeds.
REFUSALS_MAX = 8
AGAIN_FIRST_S = 0.05
AGAIN_LIMIT_S = 0.8


class Ledger(LedgerReader, Protocol):
    def commit(self, commit: Commit) -> None: ...

    def unsequenced_order(self, order_id: str) -> IntakeEvent | None: ...

    def probe(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`done` are the ids of events known to be in the ledger; `failure` is the store error that stopped the others.

    An event in neither was left because the receipt was about to expire or another matcher kept committing.
    """

    done: frozenset[str]
    failure: StoreUnavailable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    commit: Commit
    book: Book
    commands: tuple[IntakeEvent, ...]


class Sequencer:
    """Apply the intake events of one market at a time to its ledger. `services.matcher` runs the loop around it."""

    def __init__(
        self,
        ledger: Ledger,
        telemetry: Telemetry,
        now_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ledger = ledger
        self._telemetry = telemetry
        self._now_ns = now_ns
        self._sleep = sleep
        self._replicas: dict[str, Replica] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._contended: set[str] = set()

    def replica(self, market: str) -> Replica:
        return self._replicas.setdefault(market, Replica(market))

    def catch_up(self, market: str) -> int:
        """Read the market's ledger to its end; return its last sequence."""
        with self._locks[market]:
            replica = self.replica(market)
            replica.catch_up(self._ledger)
            return replica.seq

    def apply(self, market: str, commands: Sequence[IntakeEvent], until: float = float("inf")) -> Outcome:
        """Commit the new events among `commands` in order, trying until `until` on the monotonic clock.

        The queue gives one market's messages to one receiver at a time, so the lock is contended only after a receipt
        has expired.
        """
        with self._locks[market]:
            return self._apply(self.replica(market), commands, until)

    def _apply(self, replica: Replica, commands: Sequence[IntakeEvent], until: float) -> Outcome:
        done: set[str] = set()
        backoff = Backoff(first_s=AGAIN_FIRST_S, limit_s=AGAIN_LIMIT_S, jitter=FULL)
        refusals, at_once = 0, len(commands)
        failure: StoreUnavailable | None = None
        try:
            while refusals < REFUSALS_MAX and time.monotonic() < until:
                if replica.market in self._contended:
                    self._catch_up_after_conflict(replica)
                done |= {c.event_id for c in commands if replica.knows(c.event_id)}
                todo = [c for c in commands if c.event_id not in done]
                if not todo:
                    break
                try:
                    todo = self._orders_first(replica, todo)[:at_once]
                    done |= self._commit(replica, _plan(replica, todo, self._now_ns()))
                    failure = None
                except FenceLost:
                    refusals += 1
                    self._contended.add(replica.market)
                except (StoreThrottled, StoreContended) as exc:
                    refusals += 1
                    failure = exc
                    # Half the batch needs half the capacity and conflicts with half as many transactions.
                    at_once = max(1, at_once // 2)
                    self._sleep(backoff.next_s())
        except StoreUnavailable as exc:
            self._contended.add(
                replica.market
            )  # The commit may have been written: read the ledger before the next plan.
            failure = exc
        return Outcome(done=frozenset(done), failure=failure)

    def _orders_first(self, replica: Replica, todo: Sequence[IntakeEvent]) -> list[IntakeEvent]:
        """Return the commands, each once, with the unsequenced order of a cancel before that cancel."""
        orders = {c.order_id: c for c in reversed(todo) if c.type == IntakeType.ORDER_ACCEPTED}
        found: dict[str, IntakeEvent] = {}
        for command in todo:
            if command.type == IntakeType.CANCEL_REQUESTED and replica.book.owner(command.order_id) is None:
                order = orders.get(command.order_id) or self._ledger.unsequenced_order(command.order_id)
                if order is not None and order.market == replica.market:
                    found.setdefault(order.event_id, order)
            found.setdefault(command.event_id, command)
        return list(found.values())

    def _catch_up_after_conflict(self, replica: Replica) -> None:
        """Read the ledger before planning while another matcher keeps committing; plan optimistically otherwise."""
        if replica.catch_up(self._ledger) == 0:
            self._contended.discard(replica.market)

    def _commit(self, replica: Replica, plan: _Plan) -> frozenset[str]:
        """Commit the plan; return the ids known to be in the ledger now.

        These are the plan's ids, or those for which the ledger refused the plan.
        """
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
    """Plan as many commands, in order, as fit one transaction. The first always fits, because of `FILLS_MAX`."""
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
            # One too many: plan again without it. This is rare, and simpler than undoing.
            return _plan(replica, commands[: len(taken) - 1], ts_ns)
        plan = _Plan(commit=commit, book=book, commands=tuple(taken))
    assert plan is not None, "nothing to plan"
    return plan
