"""The ledger equals that of a run without failures, whatever is killed, redelivered, lost or run twice.

A schedule is drawn: which of two matchers receives messages again, whether its commit is refused or only the reply is
lost, and when it is killed and restarted without memory. A FIFO queue may redeliver a message until it is deleted, but
never skips one, so a schedule delivers prefixes of the messages that are not yet deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paperbroker.domain.events import IntakeEvent
from paperbroker.errors import FenceLost, StoreUnavailable
from paperbroker.services import replica
from paperbroker.services.sequencer import Ledger, Sequencer
from paperbroker.services.telemetry import Silent
from paperbroker.storage.ledger import Commit, LedgerTables
from tests.paperbroker.memory_ledger import MemoryLedger
from tests.paperbroker.paperbroker_rig import Stage, order_event
from tests.paperbroker.random_commands import MARKET, PROPERTY, commands, timeless

TURNS_MAX = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One delivery: to which matcher, how many messages, and what fails."""

    matcher: int
    messages: int
    refused: bool
    reply_lost: bool
    killed_before_delete: bool


turns = st.lists(
    st.builds(
        Turn,
        matcher=st.integers(0, 1),
        messages=st.integers(1, 10),
        refused=st.booleans(),
        reply_lost=st.booleans(),
        killed_before_delete=st.booleans(),
    ),
    max_size=TURNS_MAX,
)


class Unreliable:
    """A ledger whose next commit is refused or loses its reply."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.read_after = ledger.read_after
        self.unsequenced_order = ledger.unsequenced_order
        self.probe = ledger.probe
        self.refuse = self.lose_reply = False

    def commit(self, commit: Commit) -> None:
        if self.refuse:
            self.refuse = False
            raise StoreUnavailable("not applied")
        self._ledger.commit(commit)
        if self.lose_reply:
            self.lose_reply = False
            raise StoreUnavailable("applied, reply lost")


def play(ledger: Ledger, sequence: Sequence[IntakeEvent], schedule: Sequence[Turn]) -> None:
    """Deliver by the schedule, then without failures until the queue is empty."""
    queue = list(sequence)
    unreliable = [Unreliable(ledger), Unreliable(ledger)]
    matchers = [Sequencer(each, Silent()) for each in unreliable]
    for turn in schedule:
        n = turn.matcher
        unreliable[n].refuse, unreliable[n].lose_reply = turn.refused, turn.reply_lost
        batch = queue[: turn.messages]
        done = matchers[n].apply(MARKET, batch).done
        if turn.killed_before_delete:
            matchers[n] = Sequencer(unreliable[n], Silent())
        else:
            queue = [event for event in queue if event.event_id not in done]
    unreliable[0].refuse = unreliable[0].lose_reply = False
    while queue:
        done = matchers[0].apply(MARKET, queue[:10]).done
        assert done, "no progress without failures"
        queue = [event for event in queue if event.event_id not in done]


def clean_run(sequence: Sequence[IntakeEvent]) -> MemoryLedger:
    ledger = MemoryLedger()
    play(ledger, sequence, [])
    return ledger


@PROPERTY
@given(commands(), turns)
def test_any_schedule_gives_the_ledger_of_a_clean_run(sequence: list[IntakeEvent], schedule: list[Turn]):
    """Events, order states and balances are the same."""
    ledger, clean = MemoryLedger(), clean_run(sequence)
    play(ledger, sequence, schedule)
    assert timeless(ledger.events[MARKET]) == timeless(clean.events[MARKET])
    assert (ledger.status, ledger.filled) == (clean.status, clean.filled)
    assert (ledger.qty, ledger.cash) == (clean.qty, clean.cash)


@settings(PROPERTY, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commands(15), turns)
def test_dynamodb_gives_the_ledger_of_a_clean_run(stage: Stage, sequence: list[IntakeEvent], schedule: list[Turn]):
    """The same with the conditional writes of a real DynamoDB."""
    empty(stage)
    ledger = LedgerTables(stage.dynamodb, stage.settings.tables)
    play(ledger, sequence, schedule)
    clean = clean_run(sequence)
    assert timeless(ledger.read_after(MARKET, 0)) == timeless(clean.events[MARKET])
    orders = {row["pk"].removeprefix("order#"): row for row in stage.items(stage.settings.tables.orders)}
    assert {order_id: row["filledQty"] for order_id, row in orders.items()} == dict(clean.filled)
    assert {order_id: row["status"] for order_id, row in orders.items()} == clean.status
    positions = stage.items(stage.settings.tables.positions)
    assert {(row["clientId"], row["market"]): row["qty"] for row in positions} == dict(clean.qty)


def empty(stage: Stage) -> None:
    """Delete every item, because hypothesis runs all its examples on one stage."""
    tables = stage.settings.tables
    keys = {
        tables.orders: ("pk",),
        tables.ledger: ("market", "seq"),
        tables.markets: ("market",),
        tables.positions: ("clientId", "market"),
        tables.applied: ("market", "eventId"),
    }
    for table, names in keys.items():
        for item in stage.dynamodb.scan(TableName=table)["Items"]:
            stage.dynamodb.delete_item(TableName=table, Key={name: item[name] for name in names})


def test_matcher_with_an_old_sequence_is_fenced():
    """It is refused, reads on, and adds only what is missing."""
    ledger = MemoryLedger()
    events = [order_event(n) for n in range(3)]
    stale, other = Sequencer(ledger, Silent()), Sequencer(ledger, Silent())
    assert stale.apply(MARKET, events[:1]).done == {"e0"}
    other.apply(MARKET, events[:2])
    assert stale.apply(MARKET, events).done == {"e0", "e1", "e2"}
    assert [e.event_id for e in ledger.events[MARKET]] == ["e0", "e1", "e2"]


def test_a_batch_larger_than_a_transaction_is_committed_in_parts():
    """Commands that need more than 100 items together are split, and all are applied."""
    ledger = MemoryLedger()
    events = [order_event(n) for n in range(80)]
    assert len(Sequencer(ledger, Silent()).apply(MARKET, events).done) == 80
    assert len(ledger.events[MARKET]) == 80


def test_a_commit_that_is_fenced_again_and_again_is_given_up():
    """The batch is left to its next delivery."""

    class Contested(MemoryLedger):
        tries = 0

        def commit(self, commit: Commit) -> None:
            self.tries += 1
            raise FenceLost("always")

    ledger = Contested()
    assert Sequencer(ledger, Silent()).apply(MARKET, [order_event(1)]).done == frozenset()
    assert 1 < ledger.tries <= 10


def test_an_event_beyond_the_matchers_memory_is_recognised_by_its_mark(monkeypatch: pytest.MonkeyPatch):
    """Its redelivery is refused because of the mark in the Applied table, and counts as done."""
    monkeypatch.setattr(replica, "APPLIED_IDS_MAX", 1)
    ledger = MemoryLedger()
    sequencer = Sequencer(ledger, Silent())
    assert sequencer.apply(MARKET, [order_event(1), order_event(2)]).done == {"e1", "e2"}
    assert not sequencer.replica(MARKET).knows("e1")
    assert sequencer.apply(MARKET, [order_event(1)]).done == {"e1"}
    assert len(ledger.events[MARKET]) == 2
