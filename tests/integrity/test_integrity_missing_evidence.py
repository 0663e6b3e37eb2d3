"""Missing evidence is INVALID and never a pass: nothing recorded, another run, truncated, wrong clocks, a crash."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from kit import integrity
from kit.integrity.findings.check import Check, run_check
from kit.model import Finding, LoadStats, Status
from tests.histories import execution
from tests.histories.run_folder import evidence_of, judge
from tests.histories.tables import COLUMNS, table

NEEDED = sorted(set(COLUMNS) - {"outbox"})


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return execution.play(execution.random_steps(seed=3, count=300))


def answers_of_readers(tables: dict[str, Any], table: str) -> list[Finding]:
    """The findings of all checks that read `table`, at least one."""
    readers = [check.name for check in integrity.CHECKS if table in (*check.needs, *check.reads)]
    assert readers
    return list(judge(tables, *readers).values())


@pytest.mark.parametrize("name", NEEDED)
def test_an_empty_table_is_no_evidence(name, tables):
    tables[name] = table(name, [])
    found = answers_of_readers(tables, name)
    assert {one.status for one in found} == {Status.INVALID}
    assert all(one.detail for one in found)


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_a_table_that_was_not_recorded_is_no_evidence(name, tables):
    """No other check takes its absence for a violation."""
    tables[name] = None
    assert {one.status for one in answers_of_readers(tables, name)} == {Status.INVALID}
    assert [one.detail for one in judge(tables).values() if one.status is Status.FAIL] == []


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_a_missing_column_is_named(name, tables):
    column = next(iter(COLUMNS[name]))
    tables[name] = tables[name].drop(columns=column)
    found = answers_of_readers(tables, name)
    assert {one.status for one in found} == {Status.INVALID}
    assert any(f".parquet: column {column} is missing, expected " in one.detail for one in found)


def test_a_column_of_a_wrong_type_is_no_evidence(tables):
    tables["events"] = tables["events"].assign(qty="many")
    assert {one.status for one in answers_of_readers(tables, "events")} == {Status.INVALID}


def test_missing_values_are_read_as_the_contract_says(tables):
    """Null, empty and zero are the same in columns that an event's type lacks."""
    events = tables["events"]
    tables["events"] = events.assign(trade_id=events["trade_id"].replace("", pd.NA))
    assert [one.name for one in judge(tables).values() if one.status is Status.FAIL] == []


def test_the_ledger_of_another_run_is_no_evidence(tables):
    tables["events"] = tables["events"].assign(idempotency_key="other-" + tables["events"]["idempotency_key"])
    found = judge(tables)
    assert found["acknowledged-never-lost"].status is Status.INVALID
    assert "another run" in found["acknowledged-never-lost"].detail


def test_a_history_shorter_than_the_generator_says_is_no_evidence(tables):
    """What was sent before the load is not among what the generator sent."""
    sent = int((tables["attempts"]["invoked_ns"] > tables["past"]["ts_ns"].max()).sum())
    load = LoadStats(intended=1, sent=sent + 1, ok=1, fail=0, info=0, dropped=0, lag_ms_p99=0.1)
    found = judge(tables, load=load)
    assert found["acknowledged-never-lost"].status is Status.INVALID
    assert judge(tables, load=replace(load, sent=load.sent - 1))["acknowledged-never-lost"].status is Status.PASS


def test_retries_without_a_first_attempt_mean_a_truncated_history(tables):
    attempts = tables["attempts"]
    tables["attempts"] = attempts[attempts["kind"] != "first"]
    found = judge(tables)
    assert found["exactly-once-per-key"].status is Status.PASS
    assert "truncated" in found["no-phantom-orders"].detail


def test_a_clients_clock_that_goes_backwards_makes_a_pass_invalid(tables):
    tables["attempts"].loc[3, "completed_ns"] = tables["attempts"]["invoked_ns"].iloc[3] - 1
    found = judge(tables)
    for name in ("acknowledged-never-lost", "idempotent-replies", "monotone-reads"):
        assert found[name].status is Status.INVALID
        assert "clock went backwards" in found[name].detail


def test_a_ledgers_clock_that_goes_backwards_hides_no_violation(tables):
    events = tables["events"]
    tables["events"].loc[events["type"] == "cancelled", "ts_ns"] -= 5_000_000_000
    assert judge(tables)["gap-free-sequence"].status is Status.INVALID
    tables["events"] = tables["events"].drop(index=4)
    assert judge(tables)["gap-free-sequence"].status is Status.FAIL


def test_the_clocks_of_clients_and_ledger_must_agree(tables):
    tables["events"]["ts_ns"] -= 60_000_000_000
    found = judge(tables)["gap-free-sequence"]
    assert found.status is Status.INVALID
    assert "the clocks disagree" in found.detail


def test_rows_recorded_twice_are_no_evidence(tables):
    """A file that is read twice must not look like orders that were sent twice."""
    attempts = tables["attempts"]
    tables["attempts"] = pd.concat([attempts, attempts.head(5)])
    found = judge(tables)["acknowledged-never-lost"]
    assert (found.status, found.detail) == (Status.INVALID, "attempts: 5 are recorded more than once")


@pytest.mark.parametrize(
    ("name", "column"), [("attempts", "op"), ("attempts", "outcome"), ("events", "type"), ("orders", "status")]
)
def test_a_word_that_the_contract_does_not_know_is_no_evidence(name, column, tables):
    tables[name].loc[2, column] = "perhaps"
    assert {one.status for one in answers_of_readers(tables, name)} == {Status.INVALID}
    assert any(
        f"{name}: 1 rows have a {column} that the contract does not know" == one.detail
        for one in answers_of_readers(tables, name)
    )


def test_the_stream_of_another_run_is_no_evidence(tables):
    stream = tables["stream"]
    tables["stream"] = stream.assign(event=stream["event"].str.replace('"eventId": "', '"eventId": "other-'))
    found = judge(tables)["stream-equals-ledger"]
    assert found.status is Status.INVALID
    assert "another run" in found.detail


def test_a_subscriber_without_a_connection_makes_a_pass_invalid(tables):
    """It received nothing that could be wrong."""
    dials, stream = tables["connections"], tables["stream"]
    deaf = dials["symbol"] == "BOLT"
    tables["connections"] = dials.assign(opened_ns=dials["opened_ns"].where(~deaf, 0))
    tables["stream"] = stream[stream["symbol"] != "BOLT"].reset_index(drop=True)
    found = judge(tables)["stream-equals-ledger"]
    assert (found.status, found.detail) == (Status.INVALID, "subscriber s-BOLT of BOLT never got a connection")


def test_a_market_without_a_subscriber_makes_a_pass_invalid(tables):
    for name in ("connections", "stream"):
        tables[name] = tables[name][tables[name]["symbol"] != "BOLT"].reset_index(drop=True)
    found = judge(tables)["stream-equals-ledger"]
    assert (found.status, found.detail) == (Status.INVALID, "nobody subscribed to BOLT")


@pytest.mark.parametrize(("table", "column"), [("connections", "opened_ns"), ("stream", "received_ns")])
def test_a_subscribers_clock_that_goes_backwards_is_no_evidence(table, column, tables):
    tables[table].loc[0, column] = 1 if table == "connections" else 0
    found = judge(tables)["stream-equals-ledger"]
    assert found.status is Status.INVALID
    assert "clock went backwards" in found.detail or "have no time" in found.detail


def test_an_error_in_every_message_is_a_violation_and_not_another_run(tables):
    stream = tables["stream"]
    tables["stream"] = stream.assign(event=stream["event"].str.replace('"qty": ', '"qty": 7'))
    assert judge(tables)["stream-equals-ledger"].status is Status.FAIL


def test_orders_of_another_run_are_no_evidence(tables):
    tables["orders"]["idempotency_key"] = "other-" + tables["orders"]["idempotency_key"]
    assert "another run" in judge(tables)["order-state-equals-fills"].detail


def test_messages_of_a_subscriber_that_never_connected_are_no_evidence(tables):
    tables["connections"] = tables["connections"].head(1)
    found = judge(tables)["stream-in-order"]
    assert found.status is Status.INVALID
    assert "without a connection" in found.detail


def test_a_check_that_crashes_is_invalid_and_says_so(golden):
    def broken(_):
        raise ZeroDivisionError("by zero")

    with evidence_of(golden) as evidence:
        check = Check(name="broken", noun="orders", hold="hold", broke="broke", find=broken, needs=())
        found = run_check(check, evidence)
    assert (found.status, found.measured) == (Status.INVALID, None)
    assert "ZeroDivisionError: by zero" in found.detail


def test_nothing_at_all_is_invalid_throughout():
    found = judge({})
    assert {one.status for one in found.values()} == {Status.INVALID}
    assert len(found) == len(integrity.CHECKS)


def test_nothing_to_check_is_invalid(tables):
    """Without a reused key it is unknown whether reuse is refused."""
    attempts = tables["attempts"]
    tables["attempts"] = attempts[attempts["kind"] != "reuse_key"]
    assert judge(tables)["reused-key-refused"].status is Status.INVALID
