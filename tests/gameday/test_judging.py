"""A run's folder is judged by its evidence alone: anywhere, always the same, and never by less than all of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from kit import gameday
from kit.cli.main import main
from kit.collect import read_observations
from kit.errors import EvidenceMissing, UsageError
from kit.files.seal import write_manifest
from kit.model import Status, Verdict
from tests.gameday.run_folders import calm_history, write_run_folder
from tests.notebooks.run_ending import end_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return write_run_folder(tmp_path_factory.mktemp("reports") / "r1", calm_history())


@pytest.fixture
def run_dir(finished, tmp_path) -> Path:
    """A copy of the finished run's folder that a test may change."""
    return shutil.copytree(finished, tmp_path / "copy")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_complete_folder_of_a_good_run_passes(finished):
    judgement = gameday.judge_folder(finished)
    assert (judgement.verdict, judgement.reasons) == (Verdict.PASS, ())
    assert len({finding.kind for finding in judgement.findings}) == 6


def test_a_copied_folder_gives_the_same_record_from_anywhere(finished, run_dir, tmp_path, monkeypatch, capsys):
    record = gameday.judge_folder(finished).record()
    monkeypatch.chdir(tmp_path)
    assert gameday.judge_folder(Path("copy")).record() == record
    assert main(["check", "copy"]) == 0
    assert "PASS  steady-state  r1" in capsys.readouterr().out


def test_a_tampered_ledger_fails(run_dir, capsys):
    path = run_dir / "ledger" / "events.parquet"
    events = pd.read_parquet(path)
    fill = events.index[events["type"] == "fill"][3]
    events.loc[fill, "qty"] += 1
    events.to_parquet(path, index=False)
    write_manifest(run_dir, headless=False)
    failed = [one for one in gameday.judge_folder(run_dir).findings if one.status is Status.FAIL]
    assert failed and all(finding.counterexample for finding in failed)
    assert main(["check", str(run_dir)]) == 1
    assert "counterexample of" in capsys.readouterr().out


def test_evidence_that_was_changed_after_the_run_is_invalid(run_dir, capsys):
    path = run_dir / "ledger" / "positions.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert main(["check", str(run_dir)]) == 3
    assert "ledger/positions.parquet has another content" in capsys.readouterr().out


def test_a_run_without_its_manifest_is_invalid(run_dir, capsys):
    (run_dir / "manifest.json").unlink()
    assert main(["check", str(run_dir)]) == 3
    assert "manifest.json cannot be read" in capsys.readouterr().out


def test_a_killed_run_with_good_evidence_is_invalid_for_check_as_for_gate(run_dir, capsys):
    record = gameday.judge_folder(run_dir).record()
    end_run(run_dir, record, exit_code=137)
    for command in ("check", "gate"):
        assert main([command, str(run_dir)]) == 3
        assert "executed.ipynb" in capsys.readouterr().out


def test_the_folder_is_changed_by_write_only(run_dir):
    before = files(run_dir)
    assert main(["check", str(run_dir)]) == 0
    assert files(run_dir) == before
    assert main(["check", str(run_dir), "--write"]) == 0
    assert set(files(run_dir)) - set(before) == {"verdict.json", "junit.xml", "report.html"}
    assert json.loads((run_dir / "verdict.json").read_text())["verdict"] == "PASS"


def test_what_was_observed_survives_the_folder(finished):
    observed = read_observations(finished)
    assert (observed.fault and observed.fault.experiment_id, observed.quiescence.quiet) == ("EXP1", True)
    first_s = observed.load_started_at + 3.0
    assert observed.series["heartbeats_api"].to_numpy().tolist() == [[first_s, 4.0], [first_s + 10.0, 4.0]]
    assert observed.series["store_throttled_relay"].empty
    assert observed.alarms == {"gameday-p95": [(observed.load_started_at + 3.0, "OK")]}


@pytest.mark.parametrize(
    "missing",
    ["observations.json", "stack.yaml", "history/summary.json", "ledger/events.parquet", "history/attempts-1.parquet",
     "platform/tasks.parquet", "platform/machine.parquet"],
)  # fmt: skip
def test_a_folder_that_lacks_evidence_is_invalid_and_says_what_is_missing(run_dir, missing, capsys):
    (run_dir / missing).unlink()
    with pytest.raises(EvidenceMissing, match=missing.rpartition("/")[2]):
        gameday.judge_folder(run_dir)
    assert main(["check", str(run_dir)]) == 3
    assert "observations.json, history/" in capsys.readouterr().out


@pytest.mark.parametrize("values", ["junk", "[]", "{}", '{"schema": "gameday.observations/1"}'])
def test_damaged_observations_are_invalid(run_dir, values):
    (run_dir / "observations.json").write_text(values)
    write_manifest(run_dir, headless=False)
    with pytest.raises(EvidenceMissing, match=r"observations\.json"):
        gameday.judge_folder(run_dir)


def test_a_scenario_that_this_kit_does_not_know_is_invalid(run_dir):
    path = run_dir / "observations.json"
    path.write_text(path.read_text().replace('"scenario": "steady-state"', '"scenario": "moon-loss"'))
    write_manifest(run_dir, headless=False)
    with pytest.raises(EvidenceMissing, match="moon-loss"):
        gameday.judge_folder(run_dir)


def test_a_run_that_did_not_clean_up_is_invalid(run_dir):
    (run_dir / "cleanup.json").unlink()
    write_manifest(run_dir, headless=False)
    judgement = gameday.judge_folder(run_dir)
    assert judgement.verdict is Verdict.INVALID
    assert judgement.reasons == ("nothing-left-behind: the run did not come to the end of its clean-up",)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, lambda path: path.write_text("x")])
def test_a_path_that_is_no_run_folder_is_wrong_usage(tmp_path, make, capsys):
    make(tmp_path / "x")
    with pytest.raises(UsageError, match="expected"):
        gameday.judge_folder(tmp_path / "x")
    assert main(["check", str(tmp_path / "x")]) == 4
    assert "observations.json" in capsys.readouterr().err
