"""A key may be refused as reused only for a client that may have sent other content under it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kit.model import ATTEMPT_COLUMNS, Finding, Status
from tests.histories.clock import MS, T0_NS
from tests.histories.run_folder import judge
from tests.histories.tables import blank, table

CHECK = "unused-key-not-refused"
REUSED = {"status": 409, "outcome": "fail", "reply": json.dumps({"error": "IdempotencyKeyReused"})}
ID_TAKEN = REUSED | {"reply": json.dumps({"error": "OrderIdReused"})}
ACCEPTED = {"status": 201, "outcome": "ok", "reply": "{}"}
TIMED_OUT = {"outcome": "info", "error": "timeout"}
UNAVAILABLE = {"status": 503, "outcome": "info"}


def attempt(at_ms: int, answer: dict[str, Any], *, took_ms: int = 5, **more: Any) -> dict[str, Any]:
    """An attempt at an order of c1 under the key k, sent `at_ms` after the start."""
    at = T0_NS + at_ms * MS
    row = blank(ATTEMPT_COLUMNS) | {"op": "order", "kind": "first", "client_id": "c1", "idempotency_key": "k"}
    row |= {"order_id": "o1", "symbol": "ACME", "side": "BUY", "type": "LIMIT", "tif": "GTC", "qty": 5, "price": 100}
    return row | {"intended_ns": at, "invoked_ns": at, "completed_ns": at + took_ms * MS} | answer | more


def late(at_ms: int) -> dict[str, Any]:
    """A refusal that comes after the time-out."""
    return TIMED_OUT | {"late_status": 409, "late_ns": T0_NS + at_ms * MS, "reply": REUSED["reply"]}


def found(*rows: dict[str, Any]) -> Finding:
    numbered = [row | {"op_id": number} for number, row in enumerate(rows)]
    return judge({"attempts": table("attempts", numbered)}, CHECK)[CHECK]


@pytest.mark.parametrize("answer", [ACCEPTED, TIMED_OUT, UNAVAILABLE, {"outcome": "info", "error": "reset"}])
def test_a_client_that_may_have_used_the_key_for_other_content_may_be_refused(answer):
    """Whatever the outcome was. The refusal need not depend on which content came first."""
    assert found(attempt(0, answer), attempt(10, REUSED, kind="reuse_key", qty=6)).status is Status.PASS


def test_of_two_contents_at_once_either_may_be_refused():
    """The second was accepted while the first was still pending."""
    first, second = attempt(0, REUSED, took_ms=50), attempt(10, ACCEPTED, kind="reuse_key", qty=6)
    assert found(first, second).status is Status.PASS
    assert found(attempt(0, late(900)), attempt(800, ACCEPTED, kind="reuse_key", qty=6)).status is Status.PASS


@pytest.mark.parametrize(
    "other",
    [{"op": "cancel"}, {"side": "SELL"}, {"price": 101}, {"tif": "IOC"}, {"symbol": "BOLT"}, {"type": "MARKET"}],
)
def test_any_difference_that_is_compared_is_other_content(other):
    assert found(attempt(0, ACCEPTED, **other), attempt(10, REUSED)).status is Status.PASS


@pytest.mark.parametrize(
    "earlier",
    [
        {"client_id": "c2", "qty": 6},
        {"idempotency_key": "k2", "qty": 6},
        {"order_id": "o1-2"},
    ],
)
def test_another_client_another_key_and_another_order_id_are_no_reason(earlier):
    wrong = found(attempt(0, ACCEPTED, **earlier), attempt(10, REUSED))
    assert (wrong.status, wrong.measured) == (Status.FAIL, 1)
    assert "order o1 by client c1 was refused as a reuse of key k" in wrong.detail


def test_what_is_sent_after_the_refusal_is_no_reason():
    assert found(attempt(0, REUSED), attempt(10, ACCEPTED, qty=6, kind="retry")).status is Status.FAIL


def test_two_refusals_are_no_reason_for_each_other():
    """A 409 binds nothing, so that neither of them used the key."""
    assert found(attempt(0, REUSED), attempt(1, REUSED, kind="reuse_key", qty=6)).measured == 1


def test_cancels_of_two_orders_are_other_content_and_of_one_are_not():
    cancel = {"op": "cancel", "side": "", "type": "", "tif": "", "qty": 0, "price": 0}
    sent = attempt(0, TIMED_OUT, **cancel)
    assert found(sent, attempt(10, REUSED, **cancel, order_id="o2")).status is Status.PASS
    wrong = found(sent, attempt(10, REUSED, **cancel))
    assert wrong.status is Status.FAIL
    assert "the cancel of order o1 by client c1" in wrong.detail
    assert wrong.counterexample


def test_a_refusal_for_another_reason_is_not_judged():
    assert found(attempt(0, ID_TAKEN), attempt(1, ACCEPTED, idempotency_key="k2")).status is Status.PASS


def test_a_clock_that_went_backwards_makes_the_check_invalid():
    assert found(attempt(0, ACCEPTED, qty=6), attempt(10, REUSED, kind="retry", took_ms=-20)).status is Status.INVALID


def test_without_an_answer_there_is_nothing_to_check():
    assert found(attempt(0, TIMED_OUT)).status is Status.INVALID
