"""Errors of the kit itself: INVALID and a message in words, never FAIL, and nothing keeps running."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from kit.cli.main import main
from kit.model import USAGE_EXIT_CODE, Verdict
from tests.suite.suite_rig import DOUBLED, GOOD, a_finished_run, a_suite

INVALID = Verdict.INVALID.exit_code
ROOT = Path(__file__).parents[2]
PARAMETERS = """scenario: str = 'az-loss'
rate_per_s: int = 5
seed: int = 1
steady_s: int = 5
fault_duration_s: int = 5
recovery_s: int = 5
run_id: str = ''"""
SLEEP = "import time; print('the cell runs', flush=True); time.sleep(300)"
REMOVE_REPORTS = "import os, shutil; shutil.rmtree(os.environ['GAMEDAY_REPORTS'])"
RUN_S_MAX = 60.0
# Every write to it fails as on a full disk.
FULL = Path("/dev/full")


def gameday(*words: str | Path, **options) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "kit", *words]
    return subprocess.run(argv, text=True, stderr=subprocess.PIPE, cwd=ROOT, timeout=RUN_S_MAX, **options)


def start_run(tmp_path: Path, cell: str, *, reports: Path, **options) -> subprocess.Popen[str]:
    """Start `gameday run` on a notebook of one cell."""
    parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    made = new_notebook(cells=[parameters, new_code_cell(cell)])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, tmp_path / "game_day.ipynb")
    script = Path(__file__).with_name("probe_command.py")
    command = ["run", "az-loss", "--run-id", "r1", "--reports", reports]
    argv = [sys.executable, script, tmp_path / "game_day.ipynb", *command]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, **options)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_a_crash_is_invalid_and_shows_its_traceback(capsys, monkeypatch):
    def crash() -> None:
        raise ValueError("no such luck")

    monkeypatch.setattr("kit.gameday.catalogue", crash)
    assert main(["list"]) == INVALID
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback") and lines[-1] == "gameday: internal error: ValueError: no such luck"


def test_a_kit_that_cannot_be_imported_is_invalid(tmp_path):
    """Python's own exit code for it is 1, which would mean FAIL."""
    (tmp_path / "kit" / "cli").mkdir(parents=True)
    for package in ("kit", "kit/cli"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "kit" / "__main__.py").write_text((ROOT / "kit" / "__main__.py").read_text())
    (tmp_path / "kit" / "cli" / "main.py").write_text("import nothing_of_that_name")
    argv = [sys.executable, "-m", "kit", "list"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=RUN_S_MAX)
    assert done.returncode == INVALID
    assert "gameday: internal error: ModuleNotFoundError: No module named 'nothing_of_that_name'" in done.stderr


def test_an_interrupt_before_anything_is_judged_is_invalid(capsys, monkeypatch):
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kit.gameday.catalogue", interrupt)
    assert main(["list"]) == INVALID
    assert capsys.readouterr().err == "gameday: interrupted before anything was judged\n"


def test_a_reader_that_goes_away_changes_no_exit_code(tmp_path):
    """As in `gameday gate … | head -1`: the verdict is the exit code, and nobody reads a traceback."""
    a_finished_run(tmp_path / "run", DOUBLED)
    reading, writing = os.pipe()
    os.close(reading)
    listed = gameday("list", stdout=writing)
    judged = gameday("gate", tmp_path / "run", stdout=writing)
    os.close(writing)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert (judged.returncode, judged.stderr) == (Verdict.FAIL.exit_code, "")


def test_a_full_disk_behind_standard_output_is_reported(tmp_path):
    a_finished_run(tmp_path / "run", DOUBLED)
    with FULL.open("w") as full:
        done = gameday("gate", tmp_path / "run", stdout=full)
    assert done.returncode == Verdict.FAIL.exit_code
    assert done.stderr == "gameday: standard output cannot be written: No space left on device\n"


def test_closed_standard_streams_change_no_exit_code(tmp_path):
    a_finished_run(tmp_path / "run", DOUBLED)
    words = f'"{sys.executable}" -m kit gate "{tmp_path}/run" >&- 2>&-'
    assert subprocess.run(words, shell=True, cwd=ROOT, timeout=RUN_S_MAX).returncode == Verdict.FAIL.exit_code


@pytest.mark.parametrize("file", ["verdict.json", "junit.xml", "report.html"])
def test_a_file_that_cannot_be_written_is_reported_in_one_line(tmp_path, capsys, monkeypatch, file):
    replace = os.replace

    def full_disk(source, target, **folders):
        if target == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target, **folders)

    a_finished_run(tmp_path / "run", GOOD)
    monkeypatch.setattr(os, "replace", full_disk)
    assert main(["report", str(tmp_path / "run")]) == INVALID
    (line,) = capsys.readouterr().err.splitlines()
    assert file in line and line.endswith("cannot be written: No space left on device")
    assert not list((tmp_path / "run").glob(".*.part"))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("{}"), "is no folder"),
        (lambda path: path.mkdir(), "holds no run.json, conducted.json, suite.json or power.json"),
        (
            lambda path: path.mkdir() or a_suite(path / "suite", []),
            "holds no run.json, conducted.json, suite.json or power.json",
        ),
    ],
    ids=["missing", "file", "empty", "parent-of-a-suite"],
)
def test_a_wrong_folder_is_refused_with_what_is_expected(tmp_path, capsys, make, problem):
    path = tmp_path / "given"
    make(path)
    assert main(["gate", str(path)]) == USAGE_EXIT_CODE
    expected = (
        "a run folder reports/<run>, the folder of a run that Step Functions conducted, a suite folder reports/<suite> "
        "or a power folder reports/<power>"
    )
    assert capsys.readouterr().err == f"gameday: {path} {problem}; expected {expected}\n"


def test_a_report_is_made_of_runs_only(tmp_path, capsys):
    a_suite(tmp_path / "suite", [])
    assert main(["report", str(tmp_path / "suite")]) == USAGE_EXIT_CODE
    assert "holds no run.json; expected a run folder reports/<run>" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["run.json", "suite.json", "power.json"])
@pytest.mark.parametrize("content", ["no JSON at all", "[1]", "{}"])
def test_a_broken_record_is_no_evidence(tmp_path, capsys, file, content):
    (tmp_path / file).write_text(content)
    assert main(["gate", str(tmp_path)]) == INVALID
    assert "Traceback" not in capsys.readouterr().err


def test_a_folder_name_that_is_no_text_is_shown_escaped(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    done = gameday("gate", os.fsdecode(folder), stdout=subprocess.PIPE)
    assert done.returncode == USAGE_EXIT_CODE and "caf\\udce9 holds no run.json" in done.stderr
    done = gameday("run", "az-loss", "--reports", os.fsdecode(folder), stdout=subprocess.PIPE)
    assert done.returncode == USAGE_EXIT_CODE and "caf\\udce9 is not valid UTF-8" in done.stderr
    assert os.listdir(folder) == []


def test_a_run_goes_on_without_a_reader_in_a_folder_with_an_odd_name(tmp_path):
    """Braces, spaces, quotes and non-ASCII letters are part of a folder's name like any others."""
    folder = tmp_path / "odd {seed} 'größe' %s #1"
    reports = folder / "{reports}"
    folder.mkdir()
    run = start_run(folder, "print('the cell runs')", reports=reports)
    assert run.stdout is not None and run.stderr is not None
    run.stdout.close()
    said = run.stderr.read()
    assert run.wait(RUN_S_MAX) == INVALID and said == ""
    assert json.loads((reports / "r1" / "run.json").read_text())["exit_code"] == 0
    assert "the cell runs" in (reports / "r1" / "executed.ipynb").read_text()
    assert (reports / "r1" / "report.html").exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_run_in_order(tmp_path, number):
    """A closed terminal (SIGHUP) too: the evidence so far is judged, and no process is left."""
    run = start_run(tmp_path, SLEEP, reports=tmp_path / "reports")
    log = tmp_path / "reports" / "r1" / "runner.log"
    end = time.monotonic() + RUN_S_MAX
    while not (log.exists() and "the cell runs" in log.read_text()):
        assert time.monotonic() < end and run.poll() is None
        time.sleep(0.05)
    family = descendants(run)
    run.send_signal(number)
    output, said = run.communicate(timeout=RUN_S_MAX)
    assert (run.returncode, said) == (INVALID, "")
    assert number.name in output and "INVALID" in output
    assert (tmp_path / "reports" / "r1" / "verdict.json").exists()
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_a_reports_folder_that_vanishes_ends_a_run_in_order(tmp_path):
    run = start_run(tmp_path, REMOVE_REPORTS, reports=tmp_path / "reports", start_new_session=True)
    said = run.communicate(timeout=RUN_S_MAX)[1]
    assert run.returncode == INVALID
    assert said.splitlines()[-1].endswith("run.json cannot be written: No such file or directory")
    # A process that has just ended has no command line any more.
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert [line for line in lines if "r1" in line and str(tmp_path) in line] == []
