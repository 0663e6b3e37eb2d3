"""The sequencer with a ledger that refuses commits because of throttling or conflicting transactions."""

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
from tests.paperbroker.paperbroker_rig import order_event
from tests.paperbroker.scripted_aws import OK, TABLES, cancelled, scripted

MARKET = "ACME"


def orders(count: int) -> list[IntakeEvent]:
    return [order_event(n) for n in range(count)]


class Refusing(MemoryLedger):
    """Refuses the first `times` commits, and every commit of more than `events_max` events."""

    def __init__(self, error: Exception, times: int = 0, events_max: int = 1000) -> None:
        super().__init__()
        self.error, self.times, self.events_max = error, times, events_max
        self.sizes: list[int] = []

    def commit(self, commit: Commit) -> None:
        self.sizes.append(len(commit.events))
        if len(commit.events) > self.events_max or self.times > 0:
            self.times -= 1
            raise self.error
        super().commit(commit)


def sequencer(ledger: MemoryLedger) -> tuple[Sequencer, list[float]]:
    slept: list[float] = []
    return Sequencer(ledger, Silent(), sleep=slept.append), slept


@pytest.mark.parametrize("error", [StoreThrottled("no capacity"), StoreContended("conflict")])
def test_a_refused_commit_is_retried_after_a_pause(error: Exception):
    """In the end every order is in the ledger once."""
    ledger = Refusing(error, times=2)
    tested, slept = sequencer(ledger)
    assert len(tested.apply(MARKET, orders(3)).done) == 3
    assert len(ledger.events[MARKET]) == 3 and len(slept) == 2


def test_a_throttled_commit_is_retried_in_smaller_parts():
    ledger = Refusing(StoreThrottled("no capacity"), events_max=3)
    tested, _ = sequencer(ledger)
    assert len(tested.apply(MARKET, orders(10)).done) == 10
    assert [event.order_id for event in ledger.events[MARKET]] == [f"o{n}" for n in range(10)]
    assert ledger.sizes[:3] == [10, 5, 2]


@pytest.mark.parametrize("error", [StoreThrottled("no capacity"), StoreContended("conflict")])
def test_lasting_refusals_are_bounded_and_reported(error: StoreUnavailable):
    """The batch stays in the queue, and the outcome has the reason."""
    ledger = Refusing(error, times=1000)
    tested, _ = sequencer(ledger)
    outcome = tested.apply(MARKET, orders(3))
    assert outcome.done == frozenset() and outcome.failure is error
    assert len(ledger.sizes) == REFUSALS_MAX


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
def test_error_of_a_cancelled_commit_depends_on_its_reasons(reasons: tuple[str, ...], error: type[Exception]):
    """The items are the fence, one mark and one ledger event."""
    client, _ = scripted("dynamodb", [cancelled(*reasons)], attempts=1)
    with pytest.raises(error) as caught:
        one_commit(client)
    assert type(caught.value) is error


def one_commit(client: Any, **clock: Any) -> None:
    """Write one accepted order as the first event of its market."""
    ledger = MemoryLedger()
    Sequencer(ledger, Silent()).apply(MARKET, orders(1))
    events = tuple(ledger.events[MARKET])
    commit = Commit(market=MARKET, after_seq=0, events=events, postings=Postings(), event_ids=("e0",))
    LedgerTables(client, TABLES, **clock).commit(commit)


def test_a_commit_that_the_service_fails_has_an_unknown_outcome():
    """Such an answer has no cancellation reasons, so it carries no decision."""
    client, _ = scripted("dynamodb", [(500, {"__type": "InternalServerError", "message": "scripted"})], attempts=1)
    with pytest.raises(StoreUnavailable) as caught:
        one_commit(client)
    assert type(caught.value) is StoreUnavailable


def test_a_mark_expires_after_a_redelivery_is_impossible_at_a_whole_hour():
    """Fifteen days: a queue keeps messages for fourteen. A repeated commit within the hour is identical."""
    client, sent = scripted("dynamodb", [OK])
    hour = 400_000 * 3600
    for now_s in (hour, hour + 3599.9):
        one_commit(client, now_s=lambda now_s=now_s: now_s)
    puts = [item["Put"]["Item"] for request in sent for item in request["TransactItems"] if "Put" in item]
    first, second = (put for put in puts if "ttl" in put)
    assert first == second and first["ttl"] == {"N": str(hour + 15 * 24 * 3600)}


def test_an_event_that_is_known_costs_no_transaction():
    """Its message came again, because its delete was lost."""
    ledger = Refusing(StoreThrottled("unused"))
    tested, _ = sequencer(ledger)
    tested.apply(MARKET, orders(2))
    assert tested.apply(MARKET, orders(2)).done == {"e0", "e1"}
    assert ledger.sizes == [2]
