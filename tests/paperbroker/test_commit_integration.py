"""Commits to a real DynamoDB: competing matchers, redelivery, and the order states that clients read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paperbroker.domain.events import IntakeEvent
from paperbroker.domain.orders import Side
from paperbroker.errors import AlreadyApplied, FenceLost
from paperbroker.services.queries import Queries
from paperbroker.services.sequencer import Sequencer
from paperbroker.services.telemetry import Silent
from paperbroker.storage.ledger import Commit, LedgerTables
from paperbroker.storage.tables import OrderTables
from tests.paperbroker.memory_ledger import MemoryLedger
from tests.paperbroker.paperbroker_rig import MARKETS, IntakeRig, Stage, new_order, order_event

MARKET = "ACME"


def planned(*events: IntakeEvent) -> list[Commit]:
    """Plan one commit per event, as one matcher would."""
    ledger = MemoryLedger()
    sequencer = Sequencer(ledger, Silent())
    for event in events:
        sequencer.apply(MARKET, [event])
    return ledger.commits


def sequenced(stage: Stage) -> list[str]:
    return [row["eventId"] for row in stage.ledger(MARKET)]


def test_second_commit_at_one_sequence_writes_nothing(stage: Stage):
    """Of two matchers that plan from the same sequence the later one is refused."""
    ledger = LedgerTables(stage.dynamodb, stage.settings.tables)
    (first,), (second,) = planned(order_event(1)), planned(order_event(2))
    ledger.commit(first)
    with pytest.raises(FenceLost):
        ledger.commit(second)
    assert sequenced(stage) == ["e1"]


def test_applied_event_is_not_applied_again_at_a_later_sequence(stage: Stage):
    """A redelivery to a matcher that has read the ledger but does not remember the event."""
    ledger = LedgerTables(stage.dynamodb, stage.settings.tables)
    for commit in planned(order_event(1), order_event(2)):
        ledger.commit(commit)
    (again,) = planned(order_event(1))
    with pytest.raises(AlreadyApplied):
        ledger.commit(replace(again, after_seq=2, events=tuple(replace(e, seq=3) for e in again.events)))
    assert sequenced(stage) == ["e1", "e2"]


def test_fills_of_several_commits_add_up(stage: Stage):
    """An order of five lots trades in three later commits."""
    sequencer = Sequencer(LedgerTables(stage.dynamodb, stage.settings.tables), Silent())
    for event in (order_event(1, side="SELL", qty=5), order_event(2, qty=2), order_event(3), order_event(4)):
        sequencer.apply(MARKET, [event])
    stored = {row["pk"]: row for row in stage.items(stage.settings.tables.orders)}
    assert {pk: row["filledQty"] for pk, row in stored.items()} == {
        "order#o1": 4,
        "order#o2": 2,
        "order#o3": 1,
        "order#o4": 1,
    }
    assert stored["order#o1"]["status"] == "PARTIALLY_FILLED"


def test_order_can_be_read_as_soon_as_it_is_acknowledged(stage: Stage):
    """Before and after a matcher has sequenced it."""
    tables = stage.settings.tables
    queries = Queries(OrderTables(stage.dynamodb, tables), LedgerTables(stage.dynamodb, tables), MARKETS)
    with IntakeRig(stage) as rig:
        rig.intake.submit(new_order(1, side=Side.BUY), "trace")
        assert queries.order("o1", "c1")["status"] == "ACCEPTED"
    stage.match_all()
    assert queries.order("o1", "c1")["status"] == "OPEN"


def test_a_reader_of_the_ledger_goes_on_where_it_ended(stage: Stage):
    """A replica that got its last event again would stop there, because only contiguous events are taken."""
    ledger = LedgerTables(stage.dynamodb, stage.settings.tables)
    for commit in planned(*(order_event(n) for n in range(4))):
        ledger.commit(commit)

    def seqs(after: int, limit: int = 0) -> list[int]:
        return [event.seq for event in ledger.read_after(MARKET, after, limit)]

    assert (seqs(0), seqs(2), seqs(4)) == ([1, 2, 3, 4], [3, 4], [])
    assert (seqs(1, 2), seqs(0, 9)) == ([2, 3], [1, 2, 3, 4])
    assert (ledger.seq_of(MARKET), ledger.seq_of("BOLT")) == (4, 0)
