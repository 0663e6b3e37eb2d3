"""Redelivered messages: what a matcher deletes and remembers, and the conditions of a commit."""

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
from tests.paperbroker.paperbroker_rig import order_event
from tests.paperbroker.scripted_aws import TABLES, cancelled, scripted

MARKET = "ACME"
LOG = Log(logging.getLogger("test"))


@dataclass
class Queue:
    """Returns its messages once, and records what is deleted."""

    messages: list[Message]
    deleted: list[str] = field(default_factory=list)

    def receive(self) -> list[Message]:
        received, self.messages = self.messages, []
        return received

    def delete(self, messages: Sequence[Message]) -> None:
        self.deleted += [message.event.event_id for message in messages if message.event]


class UnreachableLedger(MemoryLedger):
    def commit(self, commit: Commit) -> None:
        raise StoreUnavailable("unreachable")


def messages(*events: IntakeEvent) -> list[Message]:
    return [Message(event=event, receipt=event.event_id, body="") for event in events]


def matcher(queue: Queue, ledger: MemoryLedger) -> Matcher:
    return Matcher(queue, ledger, Silent(), LOG, threading.Event())


def test_message_is_deleted_when_its_event_is_in_the_ledger():
    queue, ledger = Queue(messages(order_event(1), order_event(2))), MemoryLedger()
    matcher(queue, ledger).handle(queue.messages, until=float("inf"))
    assert sorted(queue.deleted) == ["e1", "e2"] and len(ledger.events[MARKET]) == 2


def test_message_whose_commit_failed_is_not_deleted():
    """It may be the last record of an acknowledged order that can still be sequenced."""
    queue = Queue(messages(order_event(1)))
    with pytest.raises(StoreUnavailable):
        matcher(queue, UnreachableLedger()).handle(queue.messages, until=float("inf"))
    assert queue.deleted == []


def test_batch_whose_receipts_have_expired_is_dropped(monkeypatch: pytest.MonkeyPatch):
    """The matcher was suspended during the receive, so another one may have its messages by now."""
    monkeypatch.setattr(time, "monotonic", clock_that_jumps(VISIBILITY_S))
    queue, ledger = Queue(messages(order_event(1))), MemoryLedger()
    matcher(queue, ledger)._turn()
    assert ledger.events[MARKET] == [] and queue.deleted == []


def clock_that_jumps(by_s: float) -> Any:
    """Return a monotonic clock that jumps after its first reading."""
    clock, offsets = time.monotonic, iter([0.0])
    return lambda: clock() + next(offsets, by_s)


def test_replica_knows_the_events_it_committed_and_those_it_read():
    own, reader, ledger = Sequencer(MemoryLedger(), Silent()), Replica(MARKET), MemoryLedger()
    own.apply(MARKET, [order_event(1)])
    assert own.replica(MARKET).knows("e1") and not own.replica(MARKET).knows("e2")
    Sequencer(ledger, Silent()).apply(MARKET, [order_event(2)])
    reader.catch_up(ledger)
    assert reader.knows("e2")


@pytest.fixture
def commit() -> Commit:
    """A commit of two orders to a market whose sequence is 3."""
    ledger = MemoryLedger()
    sequencer = Sequencer(ledger, Silent())
    sequencer.apply(MARKET, [order_event(n) for n in range(3)])
    sequencer.apply(MARKET, [order_event(3), order_event(4)])
    return ledger.commits[-1]


def writes(commit: Commit) -> list[tuple[str, dict[str, Any]]]:
    """Return table and request of each item of the commit's transaction."""
    client, sent = scripted("dynamodb", [(200, {})])
    LedgerTables(client, TABLES).commit(commit)
    requests = [next(iter(item.values())) for item in sent[0]["TransactItems"]]
    return [(request["TableName"], request) for request in requests]


def test_commit_is_conditional_on_the_sequence_and_on_free_ledger_positions(commit: Commit):
    (fence,) = [request for table, request in writes(commit) if table == TABLES.markets]
    assert "ConditionExpression" in fence and {"N": "3"} in fence["ExpressionAttributeValues"].values()
    puts = [request for table, request in writes(commit) if table == TABLES.ledger]
    assert [put.get("ConditionExpression") for put in puts] == ["attribute_not_exists(market)"] * 2


def test_commit_marks_each_of_its_events_once(commit: Commit):
    marks = [request for table, request in writes(commit) if table == TABLES.applied]
    assert [mark["Item"]["eventId"]["S"] for mark in marks] == ["e3", "e4"]
    assert {mark["ConditionExpression"] for mark in marks} == {"attribute_not_exists(eventId)"}


@pytest.mark.parametrize(
    ("taken", "error"), [(0, FenceLost), (2, AlreadyApplied), (3, FenceLost)], ids=["sequence", "mark", "position"]
)
def test_error_of_a_refused_commit_depends_on_the_refused_item(commit: Commit, taken: int, error: type[Exception]):
    """The market's sequence, an event's mark, or a ledger position."""
    reasons = ["None"] * commit.items
    reasons[taken] = "ConditionalCheckFailed"
    client, _ = scripted("dynamodb", [cancelled(*reasons)])
    with pytest.raises((AlreadyApplied, FenceLost)) as caught:
        LedgerTables(client, TABLES).commit(commit)
    assert type(caught.value) is error
    if isinstance(caught.value, AlreadyApplied):
        assert caught.value.event_ids == {"e4"}
