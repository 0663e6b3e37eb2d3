"""The sequencer before a ledger that refuses for want of capacity, or because of rivals' transactions."""

from __future__ import annotations

from typing import Any

import pytest

from paperbroker.domain.events import IntakeEvent
from paperbroker.domain.postings import Postings
from paperbroker.errors import AlreadyApplied, FenceLost, StoreContended, StoreThrottled, StoreUnavailable
from paperbroker.services.sequencer import REFUSALS_MAX, Sequencer
from paperbroker.services.telemetry import Silent
from paperbroker.storage.ledger import Commit, LedgerTables
from tests.paperbroker.memory_ledger import MemoryLedger
from tests.paperbroker.scripted_aws import TABLES, cancelled, scripted

MARKET = "ACME"


def orders(count: int) -> list[IntakeEvent]:
    common: dict[str, Any] = {"type": "OrderAccepted", "market": MARKET, "side": "BUY", "order_type": "LIMIT"}
    return [
        IntakeEvent(
            event_id=f"e{n}",
            order_id=f"o{n}",
            client_id="a",
            idempotency_key=f"k{n}",
            tif="GTC",
            qty=1,
            price=100,
            accepted_at_ns=0,
            **common,
        )
        for n in range(count)
    ]


class Refusing(MemoryLedger):
    """Refuses commits of more than `events_max` events, and the first of those that are left, `times` times."""

    def __init__(self, error: Exception, times: int = 0, events_max: int = 1000) -> None:
        super().__init__()
        self.error, self.times, self.events_max = error, times, events_max
        self.asked: list[int] = []

    def commit(self, commit: Commit) -> None:
        self.asked.append(len(commit.events))
        if len(commit.events) > self.events_max or self.times > 0:
            self.times -= 1
            raise self.error
        super().commit(commit)


def sequencer(ledger: MemoryLedger) -> tuple[Sequencer, list[float]]:
    slept: list[float] = []
    return Sequencer(ledger, Silent(), sleep=slept.append), slept


@pytest.mark.parametrize("error", [StoreThrottled("no capacity"), StoreContended("rival")])
def test_a_refused_commit_is_tried_again_after_a_pause(error: Exception):
    """It wrote nothing, so nothing has to be read first; in the end every order is there once."""
    ledger = Refusing(error, times=2)
    tested, slept = sequencer(ledger)
    assert len(tested.apply(MARKET, orders(3)).done) == 3
    assert len(ledger.events[MARKET]) == 3 and len(slept) == 2


def test_what_does_not_fit_the_capacity_is_asked_for_in_smaller_parts():
    ledger = Refusing(StoreThrottled("no capacity"), events_max=3)
    tested, _ = sequencer(ledger)
    assert len(tested.apply(MARKET, orders(10)).done) == 10
    assert [event.order_id for event in ledger.events[MARKET]] == [f"o{n}" for n in range(10)]
    assert ledger.asked[:3] == [10, 5, 2]


@pytest.mark.parametrize("error", [StoreThrottled("no capacity"), StoreContended("rival")])
def test_refusals_to_the_end_are_told_and_bounded(error: StoreUnavailable):
    """The batch goes back to the queue, and the loop hears why."""
    ledger = Refusing(error, times=1000)
    tested, _ = sequencer(ledger)
    outcome = tested.apply(MARKET, orders(3))
    assert outcome.done == frozenset() and outcome.failure is error
    assert len(ledger.asked) == REFUSALS_MAX


@pytest.mark.parametrize(
    ("reasons", "error"),
    [
        (("ConditionalCheckFailed", "None", "None"), FenceLost),
        (("None", "ConditionalCheckFailed", "None"), AlreadyApplied),
        (("None", "None", "ConditionalCheckFailed"), FenceLost),
        (("TransactionConflict", "None", "None"), StoreContended),
        (("None", "None", "TransactionConflict"), StoreContended),
        (("TransactionConflict", "ConditionalCheckFailed", "None"), AlreadyApplied),
        (("None", "None", "ThrottlingError"), StoreThrottled),
        (("None", "None", "ProvisionedThroughputExceeded"), StoreThrottled),
        (("None", "None", "ValidationError"), StoreUnavailable),
    ],
)
def test_what_the_reasons_of_a_cancelled_commit_mean(
    reasons: tuple[str, ...], error: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    """Fence first, then one mark, then what is written."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client, _ = scripted("dynamodb", [cancelled(*reasons)], attempts=1)
    ledger = MemoryLedger()
    Sequencer(ledger, Silent()).apply(MARKET, orders(1))
    events = tuple(ledger.events[MARKET])
    commit = Commit(market=MARKET, after_seq=0, events=events, postings=Postings(), event_ids=("e0",))
    with pytest.raises(error) as caught:
        LedgerTables(client, TABLES).commit(commit)
    assert type(caught.value) is error
