"""A run's folder is judged in little memory, and findings name each missing or damaged file and what was expected."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kit import integrity
from kit.integrity.arrays.columns import ColumnStorage
from kit.integrity.checks import (
    past,
    telemetry,
    telemetry_balancer,
    telemetry_lag,
    telemetry_latency,
    telemetry_queue,
    telemetry_store,
)
from kit.model import Finding, LoadStats, Status
from tests.histories.large import write_run
from tests.histories.run_folder import write

LEDGER_CHECK, HISTORY_CHECK, STREAM_CHECK = "price-time-replay", "acknowledged-never-lost", "stream-equals-ledger"


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    write_run(folder, 6_000)
    return folder


@pytest.fixture
def run(golden, tmp_path) -> Path:
    return write(golden, tmp_path / "run", segments=3)


def judged(folder: Path, **more: Any) -> dict[str, Finding]:
    found = {one.name: one for one in integrity.check_run(folder, **more)}
    assert list(found) == [check.name for check in integrity.CHECKS]
    return found


def test_a_large_correct_run_passes_every_check(large):
    """It has no past, and no metrics, which are compared with the history in `test_integrity_telemetry`."""
    modules = (
        past, telemetry, telemetry_balancer, telemetry_lag, telemetry_latency, telemetry_queue, telemetry_store,
    )  # fmt: skip
    rest = {one.name for module in modules for one in module.CHECKS}
    wrong = [(one.name, one.detail) for one in judged(large).values() if one.status is not Status.PASS]
    assert {name for name, _ in wrong} == rest, wrong


def test_a_history_in_many_files_is_judged_like_one_file(run, golden, tmp_path):
    assert judged(run) == judged(write(golden, tmp_path / "one"))


def test_columns_that_do_not_fit_into_memory_go_to_files_and_are_removed(run, tmp_path, monkeypatch):
    """The findings are the same, whatever memory there is."""
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(files))
    made: list[Path] = []
    file = ColumnStorage.file
    monkeypatch.setattr(ColumnStorage, "file", lambda storage: made.append(file(storage)) or made[-1])
    assert judged(run, memory_bytes_max=0) == judged(run)
    assert len(made) > 50
    assert list(files.iterdir()) == []


def test_what_the_caller_says_the_generator_sent_is_compared_with_the_history(run, golden):
    sent = len(golden["attempts"]) + 1
    load = LoadStats(intended=1, sent=sent, ok=1, fail=0, info=0, dropped=0, lag_ms_p99=0.1)
    assert f"the generator sent {sent:,} but" in judged(run, load=load)[HISTORY_CHECK].detail


# Missing and damaged files


def test_a_folder_of_no_run_is_invalid_throughout(tmp_path):
    for folder in (tmp_path, tmp_path / "absent", Path(__file__)):
        assert {one.status for one in judged(folder).values()} == {Status.INVALID}
    assert "history/summary.json cannot be read" in judged(tmp_path)[HISTORY_CHECK].detail


def test_a_missing_file_of_the_history_is_named(run):
    (run / "history" / "attempts-1.parquet").unlink()
    found = judged(run)
    assert "attempts: history/attempts-1.parquet is missing, expected a Parquet" in found[HISTORY_CHECK].detail
    assert found["gap-free-sequence"].status is Status.PASS


def test_a_missing_file_of_the_ledger_is_named_with_its_columns(run):
    (run / "ledger" / "events.parquet").unlink()
    found = judged(run)
    wanted = "events: ledger/events.parquet is missing, expected a Parquet file with the columns market, seq, type,"
    assert found[LEDGER_CHECK].detail.startswith(wanted)
    assert not [one.name for one in found.values() if one.status is Status.FAIL]


@pytest.mark.parametrize(("name", "check"), [("history/stream-0", STREAM_CHECK), ("ledger/events", LEDGER_CHECK)])
def test_a_file_that_is_cut_off_is_named(name, check, run):
    path = run / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    found = judged(run)[check]
    assert found.status is Status.INVALID
    assert f"{name}.parquet is damaged, expected a whole Parquet file" in found.detail


@pytest.mark.parametrize("name", ["history/attempts-1", "history/stream-0", "ledger/events", "ledger/orders"])
def test_bytes_damaged_inside_a_file_are_no_evidence_and_no_crash(name, run):
    path = run / f"{name}.parquet"
    torn = bytearray(path.read_bytes())
    torn[4 : len(torn) // 2] = b"\xff" * (len(torn) // 2 - 4)
    path.write_bytes(torn)
    assert not [one for one in judged(run).values() if one.status is Status.FAIL]


def test_a_file_that_is_shorter_than_the_summary_says_is_no_evidence(run):
    part = run / "history" / "attempts-2.parquet"
    pq.write_table(pq.read_table(part).slice(1), part)
    found = judged(run)[HISTORY_CHECK]
    assert found.status is Status.INVALID
    assert "but history/summary.json says" in found.detail


FINISHED = '{"finished": true, "intended": 1, "sent": 1, "ok": 1, "fail": 0, "info": 0, "dropped": 0, "lag_ms_p99": 1'


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"finished": false}', '{"finished": true}', FINISHED + "}"]
    + [
        f'{FINISHED}, "segments": {segments}}}'
        for segments in ("null", "[]", '{"attempts": 7}', '{"attempts": [[1, "x"]]}')
    ]
    + [f"{FINISHED}, {text}}}" for text in ('"sent": "many"', '"lag_ms_p99": null')],
)
def test_a_history_without_a_right_summary_is_no_evidence(text, run):
    (run / "history" / "summary.json").write_text(text)
    found = judged(run)
    assert found[HISTORY_CHECK].status is Status.INVALID
    assert "history/summary.json" in found[HISTORY_CHECK].detail
    assert found[LEDGER_CHECK].status is Status.PASS


@pytest.mark.parametrize("values", [["many"], [1.5], [True]], ids=["text", "fraction", "bool"])
def test_a_column_of_another_type_is_no_evidence(values, run):
    path = run / "ledger" / "orders.parquet"
    table = pq.read_table(path)
    column = pa.array(values * len(table))
    pq.write_table(table.set_column(table.column_names.index("qty"), "qty", column), path)
    found = judged(run)["order-state-equals-fills"]
    assert found.status is Status.INVALID
    assert found.detail == f"orders: ledger/orders.parquet: column qty is {column.type}, expected int64"


def test_a_number_that_does_not_fit_its_column_is_no_evidence(run):
    path = run / "history" / "attempts-0.parquet"
    table = pq.read_table(path)
    statuses = pa.array([2**40] * len(table))
    pq.write_table(table.set_column(table.column_names.index("status"), "status", statuses), path)
    found = judged(run)[HISTORY_CHECK]
    assert found.status is Status.INVALID
    assert "attempts: history/attempts-0.parquet is damaged" in found.detail


@pytest.mark.slow
def test_four_times_the_run_costs_about_four_times_the_work(tmp_path):
    """CPU time and not the clock's: others may keep the machine busy."""
    spent = []
    for events in (60_000, 60_000, 240_000):
        write_run(tmp_path / f"{events}-{len(spent)}", events)
        started = time.process_time()
        integrity.check_run(tmp_path / f"{events}-{len(spent)}")
        spent.append(time.process_time() - started)
    assert spent[2] < 4 * 1.8 * spent[1]
