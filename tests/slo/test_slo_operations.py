"""Every operation has an objective of its own: cancels, reads of orders and of markets, and delivery on the stream."""

from __future__ import annotations

from typing import Any

import pytest

from kit import slo
from kit.model import ATTEMPT_COLUMNS, LEDGER_EVENT_COLUMNS, STREAM_COLUMNS, Finding, Status
from tests.slo.client_tables import NS, PHASES, T0, attempt, table

READS = {
    "cancel_ms_p95": ["cancel"],
    "order_read_ms_p95": ["get_order"],
    "market_read_ms_p95": ["book", "trades"],
}


def evaluate(metric: str, rows: list[dict[str, Any]], *, stream: Any = (), events: Any = ()) -> Finding:
    objective = slo.Objective(metric=metric, limit=100, phase="during")
    tables = (table(ATTEMPT_COLUMNS, rows), table(STREAM_COLUMNS, list(stream)), None)
    (found,) = slo.evaluate(*tables, table(LEDGER_EVENT_COLUMNS, list(events)), PHASES, [objective])
    return found


def every_second(took_ms: float, op: str, kind: str = "first") -> list[dict[str, Any]]:
    return [attempt(10 + step / 2, took_ms, key=f"{op}{step}", op=op, kind=kind) for step in range(20)]


@pytest.mark.parametrize(("metric", "operations"), READS.items())
def test_a_slow_operation_breaks_its_own_objective_only(metric, operations):
    slow = [row for op in operations for row in every_second(400, op)]
    fast = [row for op in ("order", "cancel", "get_order", "book", "trades") for row in every_second(10, op)]
    assert evaluate(metric, slow).status is Status.FAIL
    assert evaluate(metric, slow).measured == 400.0
    others = [row for row in fast if row["op"] not in operations]
    assert {evaluate(other, [*slow, *others]).status for other in READS if other != metric} == {Status.PASS}
    assert evaluate("latency_ms_p95", [*slow, *others]).status is Status.PASS


def test_reads_through_the_other_zone_are_judged_by_their_median():
    """Less than half of them may be slow, because their zone is impaired."""
    rows = [*every_second(10, "book"), *every_second(900, "book")[:18]]
    assert evaluate("market_read_ms_p50", rows).status is Status.PASS
    assert evaluate("market_read_ms_p95", rows).status is Status.FAIL
    assert evaluate("market_read_ms_p50", [*rows, *every_second(900, "trades")[:9]]).status is Status.FAIL
    assert evaluate("order_read_ms_p50", every_second(900, "get_order")).status is Status.FAIL


def test_only_first_attempts_count_and_without_any_there_is_no_evidence():
    rows = [*every_second(10, "cancel"), *every_second(900, "cancel", kind="resubmit_early")]
    assert evaluate("cancel_ms_p95", rows).measured == 10.0
    assert evaluate("order_read_ms_p95", rows).status is Status.INVALID


def test_delivery_counts_from_the_commit_to_the_first_subscriber_that_received_the_event():
    events = [{"market": "ACME", "seq": seq, "ts_ns": (T0 + 10 + seq) * NS} for seq in range(1, 9)]
    received = [("late", 5.0), ("connected", 0.08)]
    stream = [
        {"subscriber": who, "symbol": "ACME", "seq": event["seq"], "received_ns": event["ts_ns"] + int(after_s * NS)}
        for event in events
        for who, after_s in received
    ]
    found = evaluate("delivery_ms_p95", every_second(10, "order"), stream=stream, events=events)
    assert (found.status, found.measured) == (Status.PASS, pytest.approx(80.0))
    assert "from commit to the first subscriber" in found.detail
