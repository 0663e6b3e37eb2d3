"""Messages that come again: what is deleted, what is remembered, and what a commit asks of the ledger's places."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from paperbroker.domain.events import IntakeEvent
from paperbroker.errors import AlreadyApplied, FenceLost, StoreUnavailable
from paperbroker.logs import Log
from paperbroker.services.matcher import Matcher
from paperbroker.services.replica import Replica
from paperbroker.services.sequencer import Sequencer
from paperbroker.services.telemetry import Silent
from paperbroker.storage.ledger import Commit, LedgerTables
from paperbroker.storage.queues import VISIBILITY_S, Message
from tests.paperbroker.memory_ledger import MemoryLedger
from tests.paperbroker.scripted_aws import TABLES, cancelled, scripted

MARKET = "ACME"
LOG = Log(logging.getLogger("test"))


def order(n: int) -> IntakeEvent:
    return IntakeEvent(
        event_id=f"e{n}",
        type="OrderAccepted",
        market=MARKET,
        order_id=f"o{n}",
        client_id=f"c{n}",
        idempotency_key=f"k{n}",
        side="BUY",
        order_type="LIMIT",
        tif="GTC",
        qty=1,
        price=100,
        accepted_at_ns=0,
    )


@dataclass
class Queue:
    """Gives its messages to the first who asks, after `wait_s`, and remembers what was deleted."""

    messages: list[Message]
    wait_s: float = 0.0
    deleted: list[str] = field(default_factory=list)

    def receive(self) -> list[Message]:
        time.sleep(self.wait_s)
        given, self.messages = self.messages, []
        return given

    def delete(self, messages: Sequence[Message]) -> None:
        self.deleted += [message.event.event_id for message in messages if message.event]


class Away(MemoryLedger):
    """Takes no commit."""

    def commit(self, commit: Commit) -> None:
        raise StoreUnavailable("away")


def messages(*events: IntakeEvent) -> list[Message]:
    return [Message(event=event, receipt=event.event_id, body="") for event in events]


def matching(queue: Queue, ledger: MemoryLedger) -> Matcher:
    return Matcher(queue, ledger, Silent(), LOG, threading.Event())


def test_message_is_deleted_when_its_event_is_in_the_ledger():
    queue, ledger = Queue(messages(order(1), order(2))), MemoryLedger()
    matching(queue, ledger).handle(queue.messages, until=float("inf"))
    assert sorted(queue.deleted) == ["e1", "e2"] and len(ledger.events[MARKET]) == 2


def test_message_that_could_not_be_committed_stays():
    """It is the only place that still knows of an acknowledged order."""
    queue = Queue(messages(order(1)))
    with pytest.raises(StoreUnavailable):
        matching(queue, Away()).handle(queue.messages, until=float("inf"))
    assert queue.deleted == []


def test_batch_whose_receipts_have_lapsed_is_given_up(monkeypatch: pytest.MonkeyPatch):
    """A matcher that was held up between asking and having: a rival has its messages by now."""
    monkeypatch.setattr(time, "monotonic", _held_up(VISIBILITY_S))
    queue, ledger = Queue(messages(order(1))), MemoryLedger()
    matching(queue, ledger)._turn()
    assert ledger.events[MARKET] == [] and queue.deleted == []


def _held_up(by_s: float) -> Any:
    """A clock that jumps after it was looked at once."""
    clock, looks = time.monotonic, iter([0.0])
    return lambda: clock() + next(looks, by_s)


def test_replica_knows_what_it_committed_and_what_it_read():
    mine, yours, ledger = Sequencer(MemoryLedger(), Silent()), Replica(MARKET), MemoryLedger()
    mine.apply(MARKET, [order(1)])
    assert mine.replica(MARKET).knows("e1") and not mine.replica(MARKET).knows("e2")
    Sequencer(ledger, Silent()).apply(MARKET, [order(2)])
    yours.catch_up(ledger)
    assert yours.knows("e2")


@pytest.fixture
def commit(monkeypatch: pytest.MonkeyPatch) -> Commit:
    """Two orders at place 3 of their market."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    found: list[Commit] = []

    class Kept(MemoryLedger):
        def commit(self, commit: Commit) -> None:
            found.append(commit)
            super().commit(commit)

    sequencer = Sequencer(Kept(), Silent())
    sequencer.apply(MARKET, [order(n) for n in range(3)])
    sequencer.apply(MARKET, [order(3), order(4)])
    return found[-1]


def writes(commit: Commit) -> list[tuple[str, dict[str, Any]]]:
    """Table and request of each item of the commit's transaction."""
    client, sent = scripted("dynamodb", [(200, {})])
    LedgerTables(client, TABLES).commit(commit)
    requests = [next(iter(item.values())) for item in sent[0]["TransactItems"]]
    return [(request["TableName"], request) for request in requests]


def test_commit_holds_only_where_the_market_stands(commit: Commit):
    """Conditional on the market's sequence, and on each place of the ledger being free."""
    (fence,) = [request for table, request in writes(commit) if table == TABLES.markets]
    assert "ConditionExpression" in fence and {"N": "3"} in fence["ExpressionAttributeValues"].values()
    places = [request for table, request in writes(commit) if table == TABLES.ledger]
    assert [place.get("ConditionExpression") for place in places] == ["attribute_not_exists(market)"] * 2


def test_commit_marks_each_of_its_events_once(commit: Commit):
    marks = [request for table, request in writes(commit) if table == TABLES.applied]
    assert [mark["Item"]["eventId"]["S"] for mark in marks] == ["e3", "e4"]
    assert {mark["ConditionExpression"] for mark in marks} == {"attribute_not_exists(eventId)"}


@pytest.mark.parametrize(
    ("taken", "error"), [(0, FenceLost), (2, AlreadyApplied), (3, FenceLost)], ids=["seq", "mark", "place"]
)
def test_refusal_is_told_by_its_item(commit: Commit, taken: int, error: type[Exception]):
    """The market's sequence, an event's mark, a place of the ledger: who was faster, and with what."""
    reasons = ["None"] * commit.items
    reasons[taken] = "ConditionalCheckFailed"
    client, _ = scripted("dynamodb", [cancelled(*reasons)])
    with pytest.raises((AlreadyApplied, FenceLost)) as caught:
        LedgerTables(client, TABLES).commit(commit)
    assert type(caught.value) is error
    if isinstance(caught.value, AlreadyApplied):
        assert caught.value.event_ids == {"e4"}
