"""What a key stands for: a client's own, one content, one answer; and nothing is handed on that was not written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from paperbroker.domain.events import IntakeEvent
from paperbroker.domain.orders import CancelOrder, NewOrder
from paperbroker.errors import IdempotencyKeyReused, OrderIdReused
from paperbroker.services.intake import Intake
from paperbroker.storage.queues import CommandQueue
from paperbroker.storage.tables import OrderTables
from tests.paperbroker.paperbroker_rig import new_order
from tests.paperbroker.scripted_aws import TABLES, Step, cancelled, refusal, scripted

WRITTEN: Step = (200, {})
TAKEN, FREE = "ConditionalCheckFailed", "None"
CANCEL = CancelOrder(client_id="c1", idempotency_key="k9", order_id="o1")


class IntakeRig:
    """Intake before a store that answers as it is told; `offered` went on to the queue."""

    def __init__(self, steps: Sequence[Step] = (WRITTEN,)) -> None:
        self.offered: list[IntakeEvent] = []
        self.offered_when_asked: list[int] = []
        answers = iter(steps)

        def step(request: dict[str, Any]) -> Step:
            self.offered_when_asked.append(len(self.offered))
            return next(answers)

        client, self.sent = scripted("dynamodb", step, attempts=1)
        self.intake = Intake(OrderTables(client, TABLES), self)

    def offer(self, event: IntakeEvent) -> None:
        self.offered.append(event)

    @property
    def record(self) -> str:
        """The name of the idempotency record in the last transaction."""
        items = [write.get("Put", {}).get("Item", {}) for write in self.sent[-1]["TransactItems"]]
        (name,) = [item["pk"]["S"] for item in items if item.get("pk", {}).get("S", "").startswith("key#")]
        return name


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def refused(record: dict[str, str], *orders: str) -> Step:
    """The transaction was refused because of the key's record, and perhaps of the order id as well; a cancel's has no
    write for that."""
    item = {name: {"S": value} for name, value in record.items()}
    reasons = [{"Code": TAKEN, "Item": item}, {"Code": FREE}, *({"Code": order} for order in orders)]
    return refusal("TransactionCanceledException", CancellationReasons=reasons)


def record_of(order: NewOrder | CancelOrder, answer: str = '{"first":"answer"}') -> dict[str, str]:
    return {"pk": "key#x", "eventId": "e0", "contentHash": order.content_hash(), "answer": answer}


def submitted(order: NewOrder) -> tuple[str, IntakeEvent]:
    """The name of the record under which the order was written, and its event."""
    rig = IntakeRig()
    rig.intake.submit(order, "trace")
    return rig.record, rig.offered[0]


def message_name(event: IntakeEvent) -> str:
    """By what the queue knows the event's message again."""
    client, sent = scripted("sqs", [(200, {"Successful": []})])
    CommandQueue(client, "http://q/1/q.fifo").send([event])
    return sent[0]["Entries"][0]["MessageDeduplicationId"]


def test_one_text_of_two_clients_is_two_keys():
    """Clients number their requests by themselves: the same text is not the same key."""
    mine, my_event = submitted(new_order(1, key="1", client="c1"))
    yours, your_event = submitted(new_order(2, key="1", client="c2"))
    assert mine != yours
    assert message_name(my_event) != message_name(your_event)


def test_client_and_text_cannot_be_mistaken_for_another_pair():
    """("a", "bc") and ("ab", "c") are two."""
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
def test_texts_that_are_alike_are_two(what: str, alike: tuple[str, str]):
    """Two keys of one client, and one key of two clients: every character counts, in the record and in the message."""
    pairs = [("c", text) if what == "key" else (text, "k") for text in alike]
    orders = [new_order(n, client=client, key=key) for n, (client, key) in enumerate(pairs)]
    (mine, my_event), (yours, your_event) = map(submitted, orders)
    assert mine != yours
    assert message_name(my_event) != message_name(your_event)


def test_order_and_its_cancel_are_two_messages():
    """What the queue drops as a repetition is the same request, not another one about the same order."""
    rig = IntakeRig([WRITTEN, WRITTEN])
    rig.intake.submit(new_order(1, key="k1"), "trace")
    rig.intake.cancel(CancelOrder(client_id="c1", idempotency_key="k2", order_id="o1"), "trace")
    order, cancel = rig.offered
    assert message_name(order) != message_name(cancel)


@pytest.mark.parametrize("changed", [{"qty": 6}, {"price": 101}, {"symbol": "BOLT"}])
def test_used_key_with_other_content_is_refused(changed: dict[str, Any]):
    """Whatever field differs; and nothing of it goes on."""
    rig = IntakeRig([refused(record_of(new_order(1)), FREE)])
    with pytest.raises(IdempotencyKeyReused):
        rig.intake.submit(new_order(2, key="k1", **changed), "trace")
    assert rig.offered == []


@pytest.mark.parametrize("first", [CANCEL, new_order(2, key="k9")], ids=["cancel", "order"])
def test_used_key_is_refused_for_the_cancel_of_another_order(first: NewOrder | CancelOrder):
    """The order is all the content that a cancel has, and it is not left out as an order's own id is."""
    rig = IntakeRig([WRITTEN, refused(record_of(first))])
    rig.intake.submit(new_order(2), "trace")
    with pytest.raises(IdempotencyKeyReused):
        rig.intake.cancel(replace(CANCEL, order_id="o2"), "trace")
    assert [event.idempotency_key for event in rig.offered] == ["k2"]


def test_retried_cancel_gets_the_recorded_answer_byte_for_byte():
    rig = IntakeRig([WRITTEN, refused(record_of(CANCEL))])
    rig.intake.submit(new_order(1), "trace")
    receipt = rig.intake.cancel(CANCEL, "another trace")
    assert (receipt.first, receipt.answer) == (False, '{"first":"answer"}')
    assert [event.idempotency_key for event in rig.offered] == ["k1"]


@pytest.mark.parametrize(("order_id", "order"), [("o1", TAKEN), ("o1-2", FREE)])
def test_retry_gets_the_recorded_answer_byte_for_byte(order_id: str, order: str):
    """Under its first order id, which is taken by itself, or under a new one, of which nobody hears again."""
    first = new_order(1)
    rig = IntakeRig([refused(record_of(first), order)])
    receipt = rig.intake.submit(new_order(1, order_id=order_id), "another trace")
    assert (receipt.first, receipt.answer) == (False, '{"first":"answer"}')
    assert rig.offered == []


def test_order_id_of_somebody_else_is_refused():
    rig = IntakeRig([cancelled(FREE, FREE, TAKEN)])
    with pytest.raises(OrderIdReused):
        rig.intake.submit(new_order(1), "trace")
    assert rig.offered == []


def test_event_is_handed_on_once_and_only_when_it_is_written():
    """Not while the transaction that decides is still on its way."""
    rig = IntakeRig()
    assert rig.intake.submit(new_order(1), "trace").first
    assert rig.offered_when_asked == [0]
    assert [event.order_id for event in rig.offered] == ["o1"]
