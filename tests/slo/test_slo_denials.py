"""Objectives that denials alone break, which CPU contention cannot explain."""

from __future__ import annotations

from typing import Any

import pytest

from kit import slo
from kit.model import ATTEMPT_COLUMNS
from tests.slo.client_tables import NS, PHASES, T0, attempt, table, timed_out


def denied(at: float, status: int, **more: Any) -> dict[str, Any]:
    return attempt(at, status=status, outcome="fail", **more)


def broken_by_denials(
    rows: list[dict[str, Any]], metric: str, limit: float, phase: str = "during"
) -> frozenset[tuple[str, str]]:
    objective = slo.Objective(metric=metric, limit=limit, phase=phase)
    return slo.broken_by_denials(table(ATTEMPT_COLUMNS, rows), PHASES, [objective])


@pytest.mark.parametrize("status", [400, 403, 404, 409, 500])
def test_denied_orders_break_availability_by_denial(status):
    rows = [denied(11, status), *(attempt(12 + i / 10) for i in range(9))]
    assert broken_by_denials(rows, "availability", 0.95) == {("availability", "during")}
    assert broken_by_denials(rows, "availability", 0.9) == frozenset()


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_orders_lost_by_overload_break_nothing_by_denial(status):
    rows = [denied(11, status), timed_out(11.5), attempt(12)]
    assert broken_by_denials(rows, "availability", 0.95) == frozenset()


def test_of_lost_and_denied_orders_only_the_denied_count():
    """One of twenty is denied and five are lost: 95 % would have been kept on a free machine."""
    rows = [denied(11, 409), *(timed_out(11 + i / 10) for i in range(1, 6)), *(attempt(12 + i / 10) for i in range(14))]
    assert broken_by_denials(rows, "availability", 0.95) == frozenset()
    assert broken_by_denials([*rows, denied(14, 409)], "availability", 0.95) == {("availability", "during")}


def test_a_denied_retry_and_a_late_denial_count_and_an_order_acknowledged_in_the_end_does_not():
    late = timed_out(12, key="b", late_status=409, late_ns=int((T0 + 15) * NS))
    acknowledged = [denied(13, 500, key="c"), attempt(14, key="c", kind="retry")]
    rows = [timed_out(11, key="a"), denied(11.5, 409, key="a", kind="retry"), late, *acknowledged]
    assert broken_by_denials(rows, "availability", 0.34) == {("availability", "during")}
    assert broken_by_denials(rows, "availability", 0.33) == frozenset()


@pytest.mark.parametrize(("status", "broken"), [(500, True), (503, False), (409, False)])
def test_only_errors_that_overload_cannot_cause_break_the_error_rate_by_denial(status, broken):
    """A 409 is no error of that rate to begin with."""
    found = broken_by_denials([denied(11, status), attempt(12)], "error_rate", 0.1)
    assert found == ({("error-rate", "during")} if broken else frozenset())


SHED = {"status": 503, "outcome": "info", "reply": '{"error":"Overloaded"}'}
OF_BALANCER = {"status": 503, "outcome": "info", "reply": "<html>503 Service Temporarily Unavailable</html>"}


def refused_before(*slow: dict[str, Any], **refusal: Any) -> frozenset[tuple[str, str]]:
    """Judge the steady phase if one of ten quick requests was refused, beside the slow ones."""
    quick = [attempt(5 + i / 10) for i in range(9)]
    return broken_by_denials([attempt(6, **(refusal or SHED)), *quick, *slow], "error_rate", 0.05, "before")


def test_refusals_for_overload_while_every_answer_is_quick_are_denials_before_the_fault():
    assert refused_before() == {("error-rate", "before")}
    assert refused_before(*(attempt(5 + i / 10, 400) for i in range(5))) == {("error-rate", "before")}


@pytest.mark.parametrize(
    "slow",
    [
        [attempt(5.5 + i / 10, 600) for i in range(3)],
        [timed_out(4 + i / 10, 1_500) for i in range(3)],
        [attempt(0.2 + i / 10, 600) for i in range(3)],
    ],
    ids=["slow-answers", "time-outs", "the-breaker-remembers"],
)
def test_refusals_beside_slow_answers_may_be_overload(slow: list[dict[str, Any]]):
    assert refused_before(*slow) == frozenset()


def test_slow_answers_of_long_ago_explain_no_refusal():
    long_ago = [attempt(-10 + i / 10, 600) for i in range(3)]
    assert refused_before(*long_ago) == {("error-rate", "before")}


def test_a_refusal_of_the_load_balancer_or_during_a_fault_is_no_denial():
    assert refused_before(**OF_BALANCER) == frozenset()
    rows = [attempt(16, **SHED), *(attempt(15 + i / 10) for i in range(9))]
    assert broken_by_denials(rows, "error_rate", 0.05) == frozenset()


def test_latency_objectives_and_unusable_histories_are_never_broken_by_denials():
    assert broken_by_denials([denied(11, 409)], "latency_ms_p95", 1) == frozenset()
    assert broken_by_denials([denied(25, 409)], "availability", 1) == frozenset()
    assert broken_by_denials([], "availability", 1) == frozenset()
