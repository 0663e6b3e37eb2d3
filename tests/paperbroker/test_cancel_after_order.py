"""A cancel that reaches the matcher before its order: the order is sequenced first, and only once."""

from __future__ import annotations

import logging
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperbroker.domain.events import IntakeEvent
from paperbroker.domain.orders import CancelOrder
from paperbroker.logs import Log
from paperbroker.services.intake import Intake
from paperbroker.services.matcher import Matcher
from paperbroker.services.sequencer import Sequencer
from paperbroker.services.telemetry import Silent
from paperbroker.storage.ledger import LedgerTables
from paperbroker.storage.queues import CommandQueue, Message
from paperbroker.storage.tables import OrderTables
from tests.paperbroker.memory_ledger import MemoryLedger
from tests.paperbroker.paperbroker_rig import Stage, new_order
from tests.paperbroker.random_commands import MARKET, PROPERTY, commands


class Outbound:
    """Keeps the events that intake would send."""

    def __init__(self) -> None:
        self.events: list[IntakeEvent] = []

    def offer(self, event: IntakeEvent) -> None:
        self.events.append(event)


@pytest.fixture
def accepted_pair(stage: Stage) -> tuple[IntakeEvent, IntakeEvent]:
    """The events of an order and its cancel: both accepted, neither sent."""
    outbound = Outbound()
    intake = Intake(OrderTables(stage.dynamodb, stage.settings.tables), outbound)
    intake.submit(new_order(1), "trace")
    intake.cancel(CancelOrder(client_id="c1", idempotency_key="k-cancel", order_id="o1"), "trace")
    order, cancel = outbound.events
    return order, cancel


def deliver(stage: Stage, *batches: tuple[IntakeEvent, ...]) -> None:
    """Handle each batch as one receive of a matcher."""
    ledger = LedgerTables(stage.dynamodb, stage.settings.tables)
    queue = CommandQueue(stage.sqs, stage.settings.queue_url)
    matcher = Matcher(queue, ledger, Silent(), Log(logging.getLogger("test")), threading.Event())
    for batch in batches:
        matcher.handle([Message(event=event, receipt="expired", body="") for event in batch], until=float("inf"))


@pytest.mark.parametrize("separate", [True, False])
def test_order_is_sequenced_before_the_cancel_that_overtook_it(
    stage: Stage, accepted_pair: tuple[IntakeEvent, IntakeEvent], separate: bool
):
    """In one receive or in two. The order's own message has no further effect."""
    order, cancel = accepted_pair
    deliver(stage, *([(cancel,), (order,)] if separate else [(cancel, order)]))
    rows = [(row["type"], row["orderId"], row.get("reason")) for row in stage.ledger("ACME")]
    assert rows == [("accepted", "o1", None), ("cancelled", "o1", "client")]
    found = OrderTables(stage.dynamodb, stage.settings.tables).find_order("o1")
    assert found is not None and found["status"] == "CANCELLED"


def test_matcher_notices_that_another_one_sequenced_the_order(
    stage: Stage, accepted_pair: tuple[IntakeEvent, IntakeEvent]
):
    """Its commit is fenced, it reads on, and the cancel is carried out."""
    order, cancel = accepted_pair
    ledger = LedgerTables(stage.dynamodb, stage.settings.tables)
    behind = Sequencer(ledger, Silent())
    behind.catch_up("ACME")
    deliver(stage, (order,))
    assert cancel.event_id in behind.apply("ACME", [cancel]).done
    assert [row["type"] for row in stage.ledger("ACME")] == ["accepted", "cancelled"]


def test_cancel_of_a_rejected_order_is_refused(stage: Stage, accepted_pair: tuple[IntakeEvent, IntakeEvent]):
    """The order was sequenced as rejected, so it must not be sequenced again."""
    _, cancel = accepted_pair
    stage.dynamodb.update_item(
        TableName=stage.settings.tables.orders,
        Key={"pk": {"S": "order#o1"}},
        UpdateExpression="SET #status = :rejected",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":rejected": {"S": "REJECTED"}},
    )
    deliver(stage, (cancel,))
    assert [(row["type"], row["reason"]) for row in stage.ledger("ACME")] == [("rejected", "UnknownOrder")]


@PROPERTY
@given(commands(), st.integers(0, 2**32))
def test_a_cancel_finds_its_accepted_order_in_any_order_of_delivery(sequence: list[IntakeEvent], seed: int):
    """Messages are shuffled and partly repeated: each order is sequenced once, and no cancel is refused as unknown."""
    ledger = MemoryLedger()
    ledger.accepted = {event.order_id: event for event in sequence if event.type == "OrderAccepted"}
    wanted = [event for event in sequence if event.order_id in ledger.accepted]
    source = random.Random(seed)
    shuffled = source.sample(wanted, len(wanted)) + source.choices(wanted, k=len(wanted) // 3)
    tested = Sequencer(ledger, Silent())
    for start in range(0, len(shuffled), 4):
        tested.apply(MARKET, shuffled[start : start + 4])
    rows = ledger.events[MARKET]
    accepted = [row.order_id for row in rows if row.type == "accepted"]
    assert sorted(accepted) == sorted(ledger.accepted)
    assert [row for row in rows if row.reason == "UnknownOrder"] == []
