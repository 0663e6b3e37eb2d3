"""Golden profiles through the command: runs as folders, refusals as one line, the verdict as the exit code."""

from __future__ import annotations

import zlib
from pathlib import Path

import nbformat
import numpy as np
import pytest

from kit.cli.main import main
from kit.files.notebook_file import SCRAP_MIME
from kit.gameday.golden_runs import SAMPLE_SCRAP
from kit.model import CheckKind, Finding, LoadStats, Status, Verdict
from kit.slo.golden import GOLDEN_RUNS_MIN, PhaseSample, RunSample
from kit.slo.histogram import Histogram
from kit.verdict import gate
from tests.notebooks.run_ending import end_run
from tests.verdict.records import run_facts

REQUESTS = 300


def write_run(
    folder: Path, *, factor: float = 1.0, verdict: str = "PASS", scenario: str = "az-loss", lag_ms: float | None = 0.4
) -> Path:
    """A run's folder with the two scraps that a profile reads."""
    dice = np.random.default_rng(zlib.crc32(folder.name.encode()))
    latency = Histogram.of((20 * factor * np.exp(dice.normal(0, 0.4, REQUESTS))).tolist())
    phases = {"before": PhaseSample(latency=latency, attempts=REQUESTS, errors=0)}
    sample = RunSample(run_id=folder.name, load={"scenario": scenario}, machine={"cpus": 2}, phases=phases)
    status = Status.PASS if verdict == "PASS" else Status.FAIL
    record = gate.record(
        run_facts(run_id=folder.name),
        Verdict(verdict),
        () if verdict == "PASS" else ("as planted",),
        findings=[Finding(name="planted", kind=CheckKind.SLO, status=status, detail="as planted")],
        load=LoadStats(intended=1, sent=1, ok=1, fail=0, info=0, dropped=0, lag_ms_p99=lag_ms) if lag_ms else None,
    )
    outputs = [
        scrap("verdict", record),
        scrap(SAMPLE_SCRAP, sample.to_plain()),
    ]
    folder.mkdir(parents=True)
    cell = nbformat.v4.new_code_cell("day.verdict()", outputs=outputs, execution_count=1)
    cell.metadata["papermill"] = {"status": "completed", "duration": 0.1}
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["papermill"] = {"end_time": "2026-01-01T00:00:00"}
    nbformat.write(notebook, folder / "executed.ipynb")
    end_run(folder, record)
    return folder


def scrap(name: str, data: dict) -> nbformat.NotebookNode:
    payload = {"name": name, "data": data, "encoder": "json", "version": 1}
    return nbformat.v4.new_output(
        "display_data",
        data={SCRAP_MIME: payload},
        metadata={"scrapbook": {"name": name, "data": True, "display": False}},
    )


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A folder with a golden profile of az-loss."""
    runs = [str(write_run(tmp_path / f"good-{number}")) for number in range(GOLDEN_RUNS_MIN)]
    assert main(["golden", "record", "az-loss", "--reports", str(tmp_path), "--from", *runs]) == 0
    return tmp_path


def compare(reports: Path, *runs: Path) -> int:
    return main(["golden", "compare", "az-loss", *map(str, runs), "--reports", str(reports)])


def test_three_slower_runs_are_a_failure_in_words(reports, capsys):
    runs = [write_run(reports / f"slow-{number}", factor=2.0) for number in range(3)]
    assert compare(reports, *runs) == 1
    assert "it got slower" in capsys.readouterr().out


def test_one_slower_run_is_a_warning(reports, capsys):
    assert compare(reports, write_run(reports / "slow", factor=2.0)) == 0
    assert "warning, it may have got slower" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "FAIL"}, "is FAIL (as planted): a golden profile is made of PASS runs only"),
        ({"scenario": "other"}, "'other'"),
        ({"lag_ms": 5.1}, "its sends left 5.1 ms after their time at p99; golden profiles allow 5 ms"),
        ({"lag_ms": None}, "its sends left at an unknown lag"),
    ],
)
def test_a_run_that_is_no_good_example_is_refused(tmp_path, capsys, changes, words):
    runs = [str(write_run(tmp_path / f"r-{number}", **changes)) for number in range(GOLDEN_RUNS_MIN)]
    assert main(["golden", "record", "az-loss", "--reports", str(tmp_path), "--from", *runs]) == 4
    assert words in capsys.readouterr().err
    assert not (tmp_path / "golden").exists()


def test_without_a_profile_nothing_is_compared(tmp_path, capsys):
    assert compare(tmp_path, write_run(tmp_path / "run")) == 4
    assert "`gameday golden record` makes one" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_named(reports, capsys):
    assert compare(reports, reports / "nothing") == 4
    assert "it has no executed.ipynb" in capsys.readouterr().err
