"""A run's folder is judged like its tables, in little memory, and what is missing in it is named."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kit import integrity
from kit.errors import UsageError
from kit.integrity.arrays.columns import Space
from kit.integrity.evidence.run_folder import HISTORY_TABLES
from kit.model import Finding, Status
from tests.histories import execution, planted
from tests.histories.large import write_run

PLANTS = {plant.__name__: plant for plant, _ in planted.PLANTS}


def write(tables: dict[str, Any], folder: Path, parts: int = 3) -> Path:
    """The tables as a run leaves them: the history in parts, the ledger whole."""
    (folder / "history").mkdir(parents=True)
    (folder / "ledger").mkdir()
    listed: dict[str, list[tuple[str, int]]] = {}
    for name, table in tables.items():
        if name not in HISTORY_TABLES:
            table.to_parquet(folder / "ledger" / f"{name}.parquet", index=False)
            continue
        listed[name] = []
        for number in range(parts):
            part = table.iloc[number * len(table) // parts : (number + 1) * len(table) // parts]
            listed[name].append((f"{name}-{number}.parquet", len(part)))
            part.to_parquet(folder / "history" / f"{name}-{number}.parquet", index=False)
    sent = len(tables["attempts"])
    counts = {"intended": sent, "sent": sent, "ok": sent, "fail": 0, "info": 0, "dropped": 0, "lag_ms_p99": 0.1}
    (folder / "history" / "summary.json").write_text(json.dumps(counts | {"segments": listed, "finished": True}))
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    write_run(folder, 6_000)
    return folder


@pytest.fixture
def run(tmp_path) -> Path:
    return write(execution.golden(), tmp_path / "run")


def by_name(found: list[Finding]) -> dict[str, Finding]:
    return {one.name: one for one in found}


def test_a_large_correct_run_passes_every_check(large):
    found = integrity.check_run(large)
    assert [(one.name, one.detail) for one in found if one.status is not Status.PASS] == []
    assert [one.name for one in found] == [check.name for check in integrity.CHECKS]


@pytest.mark.parametrize("name", ["accepted_and_filled_twice", "message_differs_from_the_ledger", "lot_from_nowhere"])
def test_a_folder_is_judged_like_its_tables(name, tmp_path):
    tables: Any = execution.golden()
    PLANTS[name](tables)
    assert integrity.check_run(write(tables, tmp_path / "run")) == integrity.check_all(**tables)


def test_columns_that_do_not_fit_into_memory_go_to_files_and_are_removed(run, tmp_path, monkeypatch):
    """The findings are the same, whatever memory there is."""
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(files))
    made: list[Path] = []
    file = Space.file
    monkeypatch.setattr(Space, "file", lambda space: made.append(file(space)) or made[-1])
    assert integrity.check_run(run, memory_bytes_max=0) == integrity.check_run(run)
    assert len(made) > 50
    assert list(files.iterdir()) == []


def test_a_check_that_a_scenario_cannot_exercise_is_left_out_by_name(run):
    assert "reused-key-refused" not in by_name(integrity.check_run(run, without=("reused-key-refused",)))
    with pytest.raises(UsageError, match="no-such-check"):
        integrity.check_run(run, without=("no-such-check",))


def test_a_missing_part_is_named(run):
    (run / "history" / "attempts-1.parquet").unlink()
    found = by_name(integrity.check_run(run))
    assert found["acknowledged-never-lost"].detail == "attempts: attempts-1.parquet is missing"
    assert found["gap-free-sequence"].status is Status.PASS


def test_a_part_that_is_cut_off_is_named(run):
    part = run / "history" / "stream-0.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    found = by_name(integrity.check_run(run))
    assert found["stream-equals-ledger"].status is Status.INVALID
    assert "stream: stream-0.parquet is damaged" in found["stream-equals-ledger"].detail


def test_a_part_that_is_shorter_than_the_summary_says_is_no_evidence(run):
    part = run / "history" / "attempts-2.parquet"
    pq.write_table(pq.read_table(part).slice(1), part)
    found = by_name(integrity.check_run(run))["acknowledged-never-lost"]
    assert found.status is Status.INVALID
    assert "but summary.json says" in found.detail


@pytest.mark.parametrize("text", ["", "[]", '{"finished": false}', '{"finished": true}'])
def test_a_history_without_its_end_is_no_evidence(text, run):
    (run / "history" / "summary.json").write_text(text)
    found = by_name(integrity.check_run(run))
    assert found["acknowledged-never-lost"].status is Status.INVALID
    assert "summary.json" in found["acknowledged-never-lost"].detail
    assert found["price-time-replay"].status is Status.PASS


def test_a_ledger_that_was_not_kept_is_no_evidence(run):
    (run / "ledger" / "events.parquet").unlink()
    found = by_name(integrity.check_run(run))
    assert found["price-time-replay"].detail == "events: events.parquet is missing"
    assert not [one.name for one in found.values() if one.status is Status.FAIL]


def test_a_column_of_another_type_is_no_evidence(run):
    path = run / "ledger" / "orders.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index("qty"), "qty", [["many"] * len(table)]), path)
    found = by_name(integrity.check_run(run))["order-state-equals-fills"]
    assert found.status is Status.INVALID
    assert "orders: a part is damaged or of a wrong type" in found.detail


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
