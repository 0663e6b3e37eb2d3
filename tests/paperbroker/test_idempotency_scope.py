"""An idempotency key belongs to one client, one content and one answer; only written orders are sent to the queue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from paperbroker.domain.events import IntakeEvent
from paperbroker.domain.orders import CancelOrder, NewOrder
from paperbroker.errors import IdempotencyKeyReused, OrderIdReused
from tests.paperbroker.paperbroker_rig import new_order
from tests.paperbroker.scripted_aws import OK, ScriptedIntake, Step, cancelled, message_of, refusal

TAKEN, FREE = "ConditionalCheckFailed", "None"
CANCEL = CancelOrder(client_id="c1", idempotency_key="k9", order_id="o1")


def refused(record: dict[str, str], *orders: str) -> Step:
    """Make the refusal of a transaction whose key exists. `orders` is the reason of the order's write, if any."""
    item = {name: {"S": value} for name, value in record.items()}
    reasons = [{"Code": TAKEN, "Item": item}, {"Code": FREE}, *({"Code": order} for order in orders)]
    return refusal("TransactionCanceledException", CancellationReasons=reasons)


def record_of(order: NewOrder | CancelOrder, answer: str = '{"first":"answer"}') -> dict[str, str]:
    return {"pk": "key#x", "eventId": "e0", "contentHash": order.content_hash(), "answer": answer}


def submitted(order: NewOrder) -> tuple[str, IntakeEvent]:
    """Submit the order; return the name of its key record, and its event."""
    rig = ScriptedIntake()
    rig.intake.submit(order, "trace")
    return rig.key_record, rig.offered[0]


def deduplication_id(event: IntakeEvent) -> str:
    return message_of(event)["MessageDeduplicationId"]


def test_the_same_key_of_two_clients_is_two_keys():
    """Clients choose their keys independently, so two clients may use the same text."""
    first, first_event = submitted(new_order(1, key="1", client="c1"))
    second, second_event = submitted(new_order(2, key="1", client="c2"))
    assert first != second
    assert deduplication_id(first_event) != deduplication_id(second_event)


def test_client_and_key_are_not_merely_concatenated():
    """("a", "bc") and ("ab", "c") are different."""
    assert submitted(new_order(1, key="bc", client="a"))[0] != submitted(new_order(2, key="c", client="ab"))[0]


@pytest.mark.parametrize("what", ["key", "client"])
@pytest.mark.parametrize(
    "alike",
    [
        ("k-abc", "k-ABC"),
        ("x" * 63 + "1", "x" * 63 + "2"),
        ("1" + "x" * 63, "2" + "x" * 63),
        ("k-1", "k_1"),
        ("7", "07"),
    ],
    ids=["case", "last of 64", "first of 64", "punctuation", "zeros"],
)
def test_similar_texts_are_different_keys(what: str, alike: tuple[str, str]):
    """As two keys of one client or one key of two clients, every character counts in the record and the message."""
    pairs = [("c", text) if what == "key" else (text, "k") for text in alike]
    orders = [new_order(n, client=client, key=key) for n, (client, key) in enumerate(pairs)]
    (first, first_event), (second, second_event) = map(submitted, orders)
    assert first != second
    assert deduplication_id(first_event) != deduplication_id(second_event)


def test_order_and_its_cancel_are_two_messages():
    """The queue drops a repeated request, not another request for the same order."""
    rig = ScriptedIntake([OK, OK])
    rig.intake.submit(new_order(1, key="k1"), "trace")
    rig.intake.cancel(CancelOrder(client_id="c1", idempotency_key="k2", order_id="o1"), "trace")
    order, cancel = rig.offered
    assert deduplication_id(order) != deduplication_id(cancel)


@pytest.mark.parametrize("changed", [{"qty": 6}, {"price": 101}, {"symbol": "BOLT"}])
def test_used_key_with_other_content_is_refused(changed: dict[str, Any]):
    """Whichever field differs; no event is sent."""
    rig = ScriptedIntake([refused(record_of(new_order(1)), FREE)])
    with pytest.raises(IdempotencyKeyReused):
        rig.intake.submit(new_order(2, key="k1", **changed), "trace")
    assert rig.offered == []


@pytest.mark.parametrize("first", [CANCEL, new_order(2, key="k9")], ids=["cancel", "order"])
def test_used_key_is_refused_for_the_cancel_of_another_order(first: NewOrder | CancelOrder):
    """A cancel's content includes its order id, unlike the content of an order."""
    rig = ScriptedIntake([OK, refused(record_of(first))])
    rig.intake.submit(new_order(2), "trace")
    with pytest.raises(IdempotencyKeyReused):
        rig.intake.cancel(replace(CANCEL, order_id="o2"), "trace")
    assert [event.idempotency_key for event in rig.offered] == ["k2"]


def test_retried_cancel_gets_the_recorded_answer_byte_for_byte():
    rig = ScriptedIntake([OK, refused(record_of(CANCEL))])
    rig.intake.submit(new_order(1), "trace")
    receipt = rig.intake.cancel(CANCEL, "another trace")
    assert (receipt.first, receipt.answer) == (False, '{"first":"answer"}')
    assert [event.idempotency_key for event in rig.offered] == ["k1"]


@pytest.mark.parametrize(("order_id", "order"), [("o1", TAKEN), ("o1-2", FREE)])
def test_retry_gets_the_recorded_answer_byte_for_byte(order_id: str, order: str):
    """Under its first order id, which the first request has taken, or under a new one, which has no effect."""
    first = new_order(1)
    rig = ScriptedIntake([refused(record_of(first), order)])
    receipt = rig.intake.submit(new_order(1, order_id=order_id), "another trace")
    assert (receipt.first, receipt.answer) == (False, '{"first":"answer"}')
    assert rig.offered == []


def test_order_id_of_another_order_is_refused():
    rig = ScriptedIntake([cancelled(FREE, FREE, TAKEN)])
    with pytest.raises(OrderIdReused):
        rig.intake.submit(new_order(1), "trace")
    assert rig.offered == []


def test_a_refused_order_id_leaves_its_key_unused():
    """The key is for the order that its client sends next, with an id that is free."""
    rig = ScriptedIntake([cancelled(FREE, FREE, TAKEN), OK])
    with pytest.raises(OrderIdReused):
        rig.intake.submit(new_order(1), "trace")
    assert rig.intake.submit(replace(new_order(1), order_id="free"), "trace").first
    assert len(rig.sent) == 2


def test_event_is_sent_once_and_only_after_it_is_written():
    """Not before the transaction has succeeded."""
    rig = ScriptedIntake()
    assert rig.intake.submit(new_order(1), "trace").first
    assert rig.offered_before_call == [0]
    assert [event.order_id for event in rig.offered] == ["o1"]
