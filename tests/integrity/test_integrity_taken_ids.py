"""When an order with the id of another order need not be refused as such."""

from __future__ import annotations

from typing import Any

from kit.model import Status
from tests.histories import edits
from tests.histories.run_folder import judge


def judged(tables: dict[str, Any], **answer: Any) -> Status:
    """Judge a first probe with this answer."""
    edits.change_first(tables, "attempts", {"kind": "taken_order_id"}, reply="{}", **answer)
    return judge(tables, "taken-order-id-refused")["taken-order-id-refused"].status


def test_an_answer_after_the_time_out_may_be_to_the_order_that_followed_under_the_key(tables):
    """The client sent that order with a free id meanwhile, so that the probe was a retry of it when it was read."""
    last_ns = int(tables["attempts"][["completed_ns", "late_ns"]].to_numpy().max())
    late = {"late_status": 200, "late_ns": last_ns}
    assert judged(tables, status=0, outcome="info", error="timeout", **late) is Status.PASS


def test_an_answer_in_time_must_be_the_refusal(tables):
    assert judged(tables, status=200, outcome="ok") is Status.FAIL
