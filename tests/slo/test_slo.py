"""Objectives by phase: what counts as a sample, how limits apply, and that no samples never pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kit import slo
from kit.errors import UsageError
from kit.model import (
    ATTEMPT_COLUMNS,
    CONNECTION_COLUMNS,
    LEDGER_EVENT_COLUMNS,
    PLANNED_RECONNECT,
    STREAM_COLUMNS,
    VISITOR,
    CheckKind,
    Finding,
    LoadStats,
    Status,
)
from tests.slo.client_tables import MS, NS, PHASES, T0, attempt, table, timed_out


def steady(seconds: range, per_s: int = 10, took_ms: float = 10) -> list[dict[str, Any]]:
    return [attempt(second + i / per_s, took_ms) for second in seconds for i in range(per_s)]


def evaluate(
    rows: list[dict[str, Any]],
    metric: str,
    limit: float,
    phase: str = "during",
    *,
    stream: list[dict[str, Any]] = (),  # type: ignore[assignment]
    connections: list[dict[str, Any]] = (),  # type: ignore[assignment]
    events: list[dict[str, Any]] = (),  # type: ignore[assignment]
    **more: Any,
) -> Finding:
    found = slo.evaluate(
        table(ATTEMPT_COLUMNS, rows),
        table(STREAM_COLUMNS, list(stream)),
        table(CONNECTION_COLUMNS, list(connections)),
        table(LEDGER_EVENT_COLUMNS, list(events)),
        PHASES,
        [slo.Objective(metric=metric, limit=limit, phase=phase)],
        **more,
    )
    assert len(found) == 1
    return found[0]


# Latency


@pytest.mark.parametrize(("limit", "status"), [(95, Status.PASS), (94, Status.FAIL)])
def test_p95_is_a_latency_that_a_client_saw_and_the_limit_is_inclusive(limit, status):
    rows = [attempt(10 + (i * 37 % 100) / 10, took_ms=i + 1) for i in range(100)]
    found = evaluate(rows, "latency_ms_p95", limit)
    assert (found.status, found.measured, found.unit, found.phase) == (status, 95.0, "ms", "during")
    assert (found.name, found.kind) == ("latency-ms-p95", CheckKind.SLO)


def test_latency_counts_from_the_intended_send():
    row = attempt(11)
    row |= {"invoked_ns": row["invoked_ns"] + 300 * MS, "completed_ns": row["completed_ns"] + 300 * MS}
    assert evaluate([row], "latency_ms_p50", 1000).measured == 310.0


def test_a_time_out_counts_as_at_least_the_time_out_and_a_late_answer_as_its_own_time():
    late = timed_out(12, late_status=201, late_ns=int((T0 + 12 + 3.5) * NS))
    assert evaluate([timed_out(11)], "latency_ms_p99", 9000).measured == 2000.0
    assert evaluate([late], "latency_ms_p99", 9000).measured == 3500.0


def test_retries_other_operations_and_other_phases_are_no_latency_samples():
    rows = [
        attempt(11, 10),
        attempt(11.5, 900, kind="retry"),
        attempt(12, 900, op="book"),
        attempt(12, 900, op="trades"),
        attempt(9.99, 900),
        attempt(20.0, 900),
    ]
    assert evaluate(rows, "latency_ms_p99", 100).measured == 10.0


def test_an_operation_lasts_until_its_first_acknowledgement():
    rows = [timed_out(11, key="k"), attempt(13.5, 20, key="k", kind="retry"), attempt(15, 20, key="k", kind="reask")]
    assert evaluate(rows, "operation_ms_p95", 5000).measured == 2520.0


def test_an_operation_that_never_succeeded_lasts_at_least_to_its_last_attempt():
    rows = [timed_out(11, key="k"), timed_out(14, key="k", kind="retry")]
    assert evaluate(rows, "operation_ms_p95", 1000).measured == 5000.0


# Errors


def test_errors_are_missing_answers_and_5xx_but_not_refusals_of_content():
    rows = [
        attempt(11),
        attempt(12, status=409, outcome="fail"),
        attempt(13, status=429, outcome="fail"),
        attempt(14, status=503, outcome="info"),
        attempt(15, status=0, outcome="fail", error="refused"),
    ]
    found = evaluate(rows, "error_rate", 0.39)
    assert (found.status, found.measured, found.unit) == (Status.FAIL, 0.4, "share")
    assert "2 of 5 attempts" in found.detail


def test_availability_is_what_was_acknowledged_in_the_end_and_its_limit_a_minimum():
    rows = [
        timed_out(11, key="a"),
        attempt(40, key="a", kind="reask"),
        timed_out(12, key="b", late_status=201, late_ns=int((T0 + 15) * NS)),
        timed_out(13, key="c"),
        attempt(14, key="d"),
    ]
    assert evaluate(rows, "availability", 0.75).status is Status.PASS
    assert evaluate(rows, "availability", 0.76).status is Status.FAIL


# Fills and streams


def events_of(taker: str, maker: str, filled_at: float) -> list[dict[str, Any]]:
    base = {"market": "ACME", "client_id": "c1"}
    ts = int((T0 + filled_at) * NS)
    return [
        base | {"type": "accepted", "seq": 1, "order_id": maker, "idempotency_key": maker},
        base | {"type": "accepted", "seq": 2, "order_id": taker, "idempotency_key": taker},
        {"market": "ACME", "type": "fill", "seq": 3, "ts_ns": ts, "taker_order_id": taker, "maker_order_id": maker},
    ]


def test_first_fill_counts_takers_from_their_first_send_to_the_streamed_fill():
    rows = [attempt(10, key="maker"), attempt(11, key="taker")]
    events = events_of("taker", "maker", filled_at=11.2)
    by_ledger = evaluate(rows, "time_to_first_fill_ms_p95", 500, events=events, stream=[{"symbol": "BOLT", "seq": 3}])
    assert by_ledger.measured == pytest.approx(200)
    assert "1 orders" in by_ledger.detail
    stream = [{"symbol": "ACME", "seq": 3, "received_ns": int((T0 + 11.3) * NS)}]
    assert evaluate(rows, "time_to_first_fill_ms_p95", 500, events=events, stream=stream).measured == pytest.approx(300)


def dial(at: float, until: float = 0, *, connection: int = 0, opened: bool = True, code: int = 1006) -> dict[str, Any]:
    row = {"subscriber": "s", "symbol": "ACME", "connection": connection, "dialed_ns": int((T0 + at) * NS)}
    row |= {"opened_ns": row["dialed_ns"] if opened else 0}
    return row | {"closed_ns": int((T0 + until) * NS) if until else 0, "close_code": code if until else 0}


def test_reconnect_is_the_longest_time_without_a_stream():
    dials = [
        dial(0, 11),
        dial(11.5, 12, connection=1, opened=False),
        dial(13, 15, connection=2),
        dial(15.5, connection=3),
    ]
    found = evaluate([], "reconnect_ms_max", 1900, connections=dials)
    assert (found.status, found.measured) == (Status.FAIL, 2000.0)


def test_a_stream_that_never_came_back_counts_to_the_end():
    found = evaluate([], "reconnect_ms_max", 5000, connections=[dial(0, 11)])
    assert (found.status, found.measured) == (Status.FAIL, 19_000.0)
    assert "never came back" in found.detail


def test_streams_that_stayed_open_need_no_reconnect():
    assert evaluate([], "reconnect_ms_max", 100, connections=[dial(0)]).measured == 0.0


def test_a_subscriber_that_leaves_on_purpose_has_lost_nothing():
    dials = [
        dial(0, 11, code=PLANNED_RECONNECT),
        dial(11.5, 12, connection=1, code=PLANNED_RECONNECT),
        dial(19, connection=2),
    ]
    assert evaluate([], "reconnect_ms_max", 100, connections=dials).measured == 0.0


def test_a_subscriber_that_left_on_purpose_and_never_got_back_counts_to_the_end():
    dials = [dial(0, 11, code=PLANNED_RECONNECT), dial(11.5, 12, connection=1, opened=False)]
    found = evaluate([], "reconnect_ms_max", 5000, connections=dials)
    assert (found.status, found.measured) == (Status.FAIL, 19_000.0)


def test_a_visitor_that_is_sent_away_has_lost_no_stream():
    """It takes one event and does not resume; whether it finds a place is a check of its own."""
    visit = {"subscriber": f"s-ACME{VISITOR}"}
    dials = [dial(0), dial(1, 11, connection=1) | visit, dial(18, connection=2) | visit]
    assert evaluate([], "reconnect_ms_max", 100, connections=dials).measured == 0.0


def test_without_a_connected_subscriber_reconnects_are_invalid():
    found = evaluate([], "reconnect_ms_max", 100, connections=[dial(25)])
    assert found.status is Status.INVALID


# Recovery

P95 = slo.Objective(metric="latency_ms_p95", limit=50, phase="before")
ERRORS = slo.Objective(metric="error_rate", limit=0.01, phase="before")


def recovery(rows: list[dict[str, Any]], limit: float = 5, phase: str = "after") -> Finding:
    return evaluate(rows, "recovery_s", limit, phase, steady=(P95, ERRORS))


def broken(start: float, end: float) -> list[dict[str, Any]]:
    return [timed_out(start + 0.05 + step / 10) for step in range(round((end - start) * 10))]


def test_recovery_is_the_start_of_the_first_five_steady_seconds():
    rows = [*steady(range(30)), *broken(20, 24)]
    found = recovery(rows)
    assert (found.status, found.measured, found.unit) == (Status.PASS, 3.0, "s")  # the worst second may be left out
    assert recovery(rows, limit=2).status is Status.FAIL


def test_recovery_counts_from_the_start_of_its_phase():
    assert recovery([*steady(range(30)), *broken(10, 13)], phase="during").measured == 2.0


def test_a_system_that_was_always_steady_recovers_at_once():
    assert recovery(steady(range(30))).measured == 0.0


def test_a_relapse_after_five_steady_seconds_does_not_undo_the_recovery_but_breaks_the_phase_after_it():
    rows = [*steady(range(30)), *broken(26, 29)]
    assert recovery(rows).measured == 0.0
    assert evaluate(rows, "latency_ms_p95", 50, "after").status is Status.FAIL
    assert evaluate(rows, "error_rate", 0.01, "after").status is Status.FAIL


def test_a_system_that_is_never_steady_for_long_enough_fails_whatever_the_limit():
    found = recovery([*steady(range(30)), *broken(22, 24), *broken(26, 28), *broken(28, 30)], limit=10)
    assert found.status is Status.FAIL
    assert "never 5 s of steady state" in found.detail


def test_nothing_sent_after_the_fault_is_no_recovery():
    assert recovery(steady(range(20))).status is Status.INVALID


def test_recovery_without_a_steady_objective_is_invalid():
    assert evaluate(steady(range(30)), "recovery_s", 5, "after").status is Status.INVALID


def test_recovery_takes_the_objectives_before_the_fault_by_default():
    rows = [*steady(range(30)), *broken(20, 24)]
    objectives = [P95, ERRORS, slo.Objective(metric="recovery_s", limit=5, phase="after")]
    found = slo.evaluate(table(ATTEMPT_COLUMNS, rows), None, None, None, PHASES, objectives)
    assert [one.measured for one in found] == [10.0, 0.0, 3.0]


# No evidence


@pytest.mark.parametrize("metric", sorted(slo.Metric))
def test_no_samples_is_invalid_for_every_metric(metric):
    found = evaluate([], metric, 1)
    assert (found.status, found.measured) == (Status.INVALID, None)
    assert found.detail


@pytest.mark.parametrize("metric", ["latency_ms_p95", "error_rate", "availability", "operation_ms_p99"])
def test_a_phase_without_attempts_is_invalid(metric):
    assert evaluate(steady(range(5)), metric, 1).status is Status.INVALID


def test_an_unknown_phase_a_missing_column_and_a_broken_clock_are_invalid():
    rows = steady(range(12))
    assert evaluate(rows, "error_rate", 1, "later").status is Status.INVALID
    torn = table(ATTEMPT_COLUMNS, rows).drop(columns="late_ns")
    objective = [slo.Objective(metric="error_rate", limit=1, phase="during")]
    found = slo.evaluate(torn, None, None, None, PHASES, objective)[0]
    assert (found.status, found.detail) == (Status.INVALID, "attempts: column late_ns is missing")
    broken = [*rows, attempt(11, took_ms=-5)]
    assert "clock" in evaluate(broken, "latency_ms_p95", 100).detail


@pytest.mark.parametrize(("metric", "limit"), [("speed", 1), ("error_rate", float("nan")), ("error_rate", -1)])
def test_an_objective_that_cannot_be_evaluated_is_refused(metric, limit):
    with pytest.raises(UsageError):
        slo.Objective(metric=metric, limit=limit, phase="before")


# Steady state and generator


def test_a_system_that_is_slow_before_the_fault_is_invalid():
    attempts = table(ATTEMPT_COLUMNS, steady(range(10), took_ms=40))
    held, broken = slo.steady_state(attempts, PHASES, [P95, slo.Objective(metric=P95.metric, limit=39, phase="before")])
    assert (held.status, held.kind) == (Status.PASS, CheckKind.HYPOTHESIS)
    assert (broken.status, broken.measured, broken.limit) == (Status.INVALID, 40.0, 39)
    assert "not steady before the fault" in broken.detail


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"status": 500, "outcome": "info"}, Status.FAIL),
        ({"status": 503, "outcome": "info"}, Status.FAIL),
        ({"status": 0, "error": "reset", "outcome": "info"}, Status.FAIL),
        ({"status": 0, "error": "timeout", "outcome": "info"}, Status.INVALID),
        ({"status": 409, "outcome": "fail"}, Status.PASS),
    ],
)
def test_errors_of_the_build_before_the_fault_fail_and_time_outs_do_not(answer, status):
    rows = [*steady(range(10)), *(attempt(at + 0.5, key=f"x{at}", **answer) for at in range(10))]
    (found,) = slo.steady_state(table(ATTEMPT_COLUMNS, rows), PHASES, [ERRORS])
    assert (found.status, found.kind) == (status, CheckKind.HYPOTHESIS)


def test_no_hypothesis_is_invalid():
    attempts = table(ATTEMPT_COLUMNS, steady(range(10)))
    only_after = [slo.Objective(metric="error_rate", limit=1, phase="after")]
    assert [one.status for one in slo.steady_state(attempts, PHASES, only_after)] == [Status.INVALID]


def load(**more: Any) -> LoadStats:
    given: dict[str, Any] = {"intended": 100, "sent": 120, "ok": 120, "fail": 0, "info": 0, "dropped": 0}
    return LoadStats(**{**given, "lag_ms_p99": 0.4, **more})


@pytest.mark.parametrize(
    ("stats", "bad"),
    [
        (load(), set()),
        (load(lag_ms_p99=5.01), {"generator-lag"}),
        (load(lag_ms_p99=float("nan")), {"generator-lag"}),
        (load(dropped=1), {"generator-dropped"}),
        (load(sent=0), {"generator-sent", "generator-lag", "generator-dropped"}),
    ],
)
def test_an_unreliable_generator_makes_the_run_invalid(stats, bad):
    found = slo.generator(stats)
    assert {one.name for one in found if one.status is not Status.PASS} == bad
    assert {one.status for one in found} <= {Status.PASS, Status.INVALID}
    assert {one.kind for one in found} == {CheckKind.GENERATOR}
    json.dumps([one.measured for one in found], allow_nan=False)


@pytest.mark.parametrize(
    ("lag_ms", "limits", "punctual"),
    [(5.0, [], True), (5.1, [], False), (5.1, [40], False), (25.0, [250, 1_000], True), (25.1, [250, 1_000], False)],
)
def test_sends_may_be_late_by_a_tenth_of_the_strictest_latency_limit(lag_ms, limits, punctual):
    objectives = [slo.Objective(metric=P95.metric, limit=limit, phase="during") for limit in limits]
    objectives.append(slo.Objective(metric="error_rate", limit=0.01, phase="during"))
    (lag,) = [one for one in slo.generator(load(lag_ms_p99=lag_ms), objectives) if one.name == "generator-lag"]
    assert (lag.status is Status.PASS) is punctual
    assert lag.limit == slo.lag_ms_max(objectives)


# Plots


def test_seconds_have_no_holes_and_count_all_attempts():
    rows = [attempt(0.2, 10), attempt(0.4, 30), attempt(0.5, kind="retry"), timed_out(2.5, op="cancel")]
    seconds = slo.per_second(table(ATTEMPT_COLUMNS, rows))
    assert seconds["t"].tolist() == [T0, T0 + 1, T0 + 2]
    assert seconds["sent"].tolist() == [3, 0, 1]
    assert seconds["ok"].tolist() == [3, 0, 0]
    assert seconds["info"].tolist() == [0, 0, 1]
    assert seconds["errors"].tolist() == [0, 0, 1]
    assert seconds["p95_ms"].fillna(-1).tolist() == [30.0, -1.0, -1.0]


def test_without_attempts_there_are_no_seconds():
    seconds = slo.per_second(table(ATTEMPT_COLUMNS, []))
    assert seconds.empty
    assert {"t", "sent", "ok", "fail", "info", "errors", "p50_ms", "p95_ms", "p99_ms"} == set(seconds.columns)
