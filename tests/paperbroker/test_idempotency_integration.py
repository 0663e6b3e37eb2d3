"""The same order submitted twice to a real DynamoDB and SQS gives one order and one event."""

from __future__ import annotations

import json

from tests.paperbroker.paperbroker_rig import IntakeRig, Stage, new_order


def test_an_order_submitted_twice_is_one_order_and_one_event(stage: Stage):
    """The retry gets the first answer, the order stays ACCEPTED, and the queue has one OrderAccepted message."""
    with IntakeRig(stage) as rig:
        first = rig.intake.submit(new_order(1), "trace-1")
        again = rig.intake.submit(new_order(1), "trace-2")
    stored = [item for item in stage.items(stage.settings.tables.orders) if item["pk"].startswith("order#")]
    assert [(item["orderId"], item["status"]) for item in stored] == [("o1", "ACCEPTED")]
    bodies = [json.loads(body) for body in stage.queued()]
    assert [body["type"] for body in bodies] == ["OrderAccepted"]
    assert (first.first, again.first) == (True, False)
    assert again.answer == first.answer
