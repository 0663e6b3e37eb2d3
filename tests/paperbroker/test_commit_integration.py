"""Commits against a real DynamoDB: rivals, redelivery, and what clients read of their orders meanwhile."""

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
from tests.paperbroker.paperbroker_rig import MARKETS, IntakeRig, Stage, new_order

MARKET = "ACME"


def order(n: int, side: str = "BUY", qty: int = 1) -> IntakeEvent:
    return IntakeEvent(
        event_id=f"e{n}",
        type="OrderAccepted",
        market=MARKET,
        order_id=f"o{n}",
        client_id=f"c{n}",
        idempotency_key=f"k{n}",
        side=side,
        order_type="LIMIT",
        tif="GTC",
        qty=qty,
        price=100,
        accepted_at_ns=0,
    )


def plans(*events: IntakeEvent) -> list[Commit]:
    """The commits of one event each, as one matcher would make them."""
    made: list[Commit] = []

    class Kept(MemoryLedger):
        def commit(self, commit: Commit) -> None:
            made.append(commit)
            super().commit(commit)

    sequencer = Sequencer(Kept(), Silent())
    for event in events:
        sequencer.apply(MARKET, [event])
    return made


def told(stage: Stage) -> list[str]:
    return [row["eventId"] for row in stage.ledger(MARKET)]


def test_second_commit_from_one_place_writes_nothing(stage: Stage):
    """Two matchers that believe in the same place: the later one is refused, whatever the two want to write there."""
    ledger = LedgerTables(stage.dynamodb, stage.settings.tables)
    (first,), (rival,) = plans(order(1)), plans(order(2))
    ledger.commit(first)
    with pytest.raises(FenceLost):
        ledger.commit(rival)
    assert told(stage) == ["e1"]


def test_event_that_was_applied_is_not_applied_at_another_place(stage: Stage):
    """A redelivery to a matcher that has read on, but does not remember."""
    ledger = LedgerTables(stage.dynamodb, stage.settings.tables)
    for commit in plans(order(1), order(2)):
        ledger.commit(commit)
    (again,) = plans(order(1))
    with pytest.raises(AlreadyApplied):
        ledger.commit(replace(again, after_seq=2, events=tuple(replace(e, seq=3) for e in again.events)))
    assert told(stage) == ["e1", "e2"]


def test_what_is_filled_by_and_by_adds_up(stage: Stage):
    """An order of five that trades with three commits after its own."""
    sequencer = Sequencer(LedgerTables(stage.dynamodb, stage.settings.tables), Silent())
    for event in (order(1, "SELL", 5), order(2, qty=2), order(3), order(4)):
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
    """Before any matcher has heard of it, and after."""
    tables = stage.settings.tables
    queries = Queries(OrderTables(stage.dynamodb, tables), LedgerTables(stage.dynamodb, tables), MARKETS)
    with IntakeRig(stage) as rig:
        rig.intake.submit(new_order(1, side=Side.BUY), "trace")
        assert queries.order("o1", "c1")["status"] == "ACCEPTED"
    stage.match_all()
    assert queries.order("o1", "c1")["status"] == "OPEN"
