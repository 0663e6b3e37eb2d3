"""A cancel of one's own order may be refused only before the order is acknowledged."""

from __future__ import annotations

from typing import Any

import pytest

from kit.model import Status
from tests.histories import edits
from tests.histories.planted_answers import own_cancel
from tests.histories.run_folder import judge


def judged(tables: dict[str, Any], **answer: Any) -> Status:
    """Judge a cancel with this answer, by the order's client and after everything else."""
    edits.add_attempt(tables, own_cancel(tables) | {"outcome": "fail", "reply": "{}"} | answer)
    return judge(tables, "own-orders-cancellable")["own-orders-cancellable"].status


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 408},
        {"status": 429},
        {"status": 503, "outcome": "info"},
        {"status": 0, "outcome": "info", "error": "timeout"},
    ],
    ids=["request-too-slow", "too-many", "overloaded", "no-answer"],
)
def test_an_answer_that_settles_nothing_is_no_refusal(tables, answer):
    """A busy machine gives them to any request."""
    assert judged(tables, **answer) is Status.PASS


def test_a_refusal_of_a_cancel_that_was_sent_before_the_acknowledgement_is_allowed(tables):
    """The cancel overtook its order, whose answer was on its way for a long time."""
    assert judged(tables, status=404) is Status.FAIL
    attempts = tables["attempts"]
    order = attempts.index[attempts["order_id"] == attempts["order_id"].iloc[-1]]
    answered = attempts.loc[order].query("op == 'order' and outcome == 'ok'").index
    for index in answered:
        edits.change(tables, "attempts", index, completed_ns=int(attempts["completed_ns"].max()) + 10**9)
    assert judge(tables, "own-orders-cancellable")["own-orders-cancellable"].status is Status.PASS


def test_a_refusal_that_came_after_the_time_out_is_a_refusal(tables):
    last_ns = int(tables["attempts"][["completed_ns", "late_ns"]].to_numpy().max())
    assert judged(tables, status=0, outcome="info", error="timeout") is Status.PASS
    edits.change(tables, "attempts", tables["attempts"].index[-1], late_status=404, late_ns=last_ns + 3 * 10**9)
    assert judge(tables, "own-orders-cancellable")["own-orders-cancellable"].status is Status.FAIL
