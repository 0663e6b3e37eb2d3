"""Test a suite of whole runs, as CI starts it: one gate, one JUnit file, and no process left after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import psutil
import pytest

from kit.notebook.run_phases import RunPhase
from kit.suite import catalogue
from tests.polling import wait_for_value

pytestmark = pytest.mark.timeout(900)

PASS, FAIL, INVALID = 0, 1, 3
TWO = catalogue.PR.members()[:2]
# A run undoes its faults, judges and reports before it stops, which takes time under CPU contention.
GONE_S_MAX = 45.0


@pytest.fixture
def start_suite(start_run, tmp_path):
    """Start `gameday suite pr` with two scenarios; it is always ended after the test."""

    def start(*arguments: str):
        words = ("suite", "pr", "--only", ",".join(TWO), "--reports", str(tmp_path / "reports"), "--suite-id", "pr-1")
        return start_run(command=(sys.executable, "-m", "kit", *words, *arguments))

    return start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "reports" / "pr-1"


def gate(folder: Path) -> int:
    command = [sys.executable, "-m", "kit", "gate", str(folder)]
    return subprocess.run(command, capture_output=True, timeout=120).returncode


@pytest.mark.matrix
def test_a_suite_of_a_good_build_passes_one_gate(start_suite, folder, temporary_files):
    run = start_suite()
    assert run.end() == PASS, run.log.read_text()
    suite = json.loads((folder / "suite.json").read_text())
    assert {one["scenario"] for one in suite["runs"]} == set(TWO)
    assert all(one["verdict"] == "PASS" for one in suite["runs"] if one["counts"])
    assert all(one["cpu_contention"]["own_cores"] > 0.1 and one["cpu_s"] > 5 for one in suite["runs"])
    phases = [[start["phase"] for start in one["phases"]] for one in suite["runs"]]
    assert all(seen == list(RunPhase) for seen in phases), phases
    names = [one.get("name", "") for one in ET.parse(folder / "junit.xml").getroot()]
    assert sorted(names) == sorted(f"gameday.{name}" for name in TWO)
    page = (folder / "index.html").read_text()
    assert all(f'href="{one["report"]}"' in page and (folder / one["report"]).exists() for one in suite["runs"])
    assert gate(folder) == PASS
    assert run.survivors() == [] and temporary_files() == []


@pytest.mark.matrix
def test_a_suite_of_the_classic_bad_change_fails_and_is_not_repeated(start_suite, folder):
    run = start_suite("--change", "drop-idempotency")
    assert run.end() == FAIL, run.log.read_text()
    suite = json.loads((folder / "suite.json").read_text())
    verdicts = {one["scenario"]: one["verdict"] for one in suite["runs"] if one["counts"]}
    assert verdicts[TWO[0]] == "FAIL"
    failure = ET.parse(folder / "junit.xml").find(".//testcase[@name='no-double-fill']/failure")
    assert failure is not None
    assert gate(folder) == FAIL
    assert run.survivors() == []


@pytest.mark.slow
def test_a_killed_suite_takes_its_runs_with_it(start_suite, folder, temporary_files):
    run = start_suite("--jobs", "2")
    run.wait_for_line(" fault", timeout_s=180)
    run.look()
    assert any("kit.local" in " ".join(child.cmdline()) for child in run.family.values() if child.is_running())
    run.process.kill()
    run.process.wait(10)
    wait_for_value(run.survivors, [], "processes of the suite", GONE_S_MAX)
    assert temporary_files() == []
    assert gate(folder) == INVALID


@pytest.mark.slow
def test_ctrl_c_stops_a_suite_and_leaves_its_record(start_suite, folder, temporary_files):
    run = start_suite("--jobs", "2")
    run.wait_for_line(" fault", timeout_s=180)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.end() == INVALID, run.log.read_text()
    suite = json.loads((folder / "suite.json").read_text())
    assert suite["state"] == "stopped" and {one["verdict"] for one in suite["runs"]} == {"INVALID"}
    assert {one["scenario"] for one in suite["runs"]} == set(TWO)
    assert ET.parse(folder / "junit.xml").findall(".//testcase[@name='verdict']/error") != []
    assert run.survivors() == [] and temporary_files() == []
    assert not [one for one in psutil.process_iter() if str(folder) in " ".join(_words(one))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
