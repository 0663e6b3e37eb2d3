"""Test the main use: the good build passes, and the classic bad change turns the gate red."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PASS, FAIL = 0, 1
ROOT = Path(__file__).parents[2]
LOAD = ("--rate", "40", "-p", "steady_s=8", "-p", "fault_duration_s=14", "-p", "recovery_s=18", "-p", "past_orders=400")


def gate(run_dir: Path) -> int:
    """Run `gameday gate`, as CI does."""
    command = [sys.executable, "-m", "kit", "gate", str(run_dir)]
    return subprocess.run(command, capture_output=True, timeout=60).returncode


def check_copy(run_dir: Path, copy: Path) -> dict:
    """Judge a copy of the run's folder from another directory; returns the verdict record."""
    shutil.copytree(run_dir, copy)
    (copy / "verdict.json").unlink()
    command = [sys.executable, "-m", "kit", "check", copy.name, "--write"]
    subprocess.run(command, cwd=copy.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False)
    return json.loads((copy / "verdict.json").read_text())


def test_the_good_build_passes_and_shows_its_evidence(good_run, temporary_files, tmp_path):
    run = good_run(*LOAD)
    assert run.process.returncode == PASS, run.log.read_text()
    record = run.verdict()
    assert record["verdict"] == "PASS" and record["reasons"] == []
    assert {check["kind"] for check in record["checks"]} == {
        "integrity",
        "slo",
        "hypothesis",
        "fault",
        "generator",
        "stack",
    }
    fault = record["fault"]
    assert fault["injected_at"] <= fault["observed_at"] < fault["healed_at"]
    assert {target["zone"] for target in fault["targets"]} == {"us-east-1a"}
    assert [phase["name"] for phase in record["phases"]] == ["before", "during", "recovery", "after"]
    page = (run.run_dir / "report.html").read_text()
    assert page.count("<figure") == 5
    assert gate(run.run_dir) == PASS
    assert check_copy(run.run_dir, tmp_path / "elsewhere" / "copy") == record
    assert run.survivors() == [] and temporary_files() == []


def test_the_classic_bad_change_is_caught_with_the_doubled_orders_timeline(start_run):
    run = start_run(*LOAD, "--change", "drop-idempotency")
    assert run.end() == FAIL, run.log.read_text()
    checks = {check["name"]: check for check in run.verdict()["checks"]}
    doubled = checks["no-double-fill"]
    assert doubled["status"] == "fail" and doubled["measured"] > 0
    timeline = [step["what"] for step in doubled["counterexample"]]
    assert sum("accepted" in line for line in timeline) >= 2, timeline
    page = (run.run_dir / "report.html").read_text()
    assert "no-double-fill" in page and doubled["detail"].split(":")[0] in page
    case = ET.parse(run.run_dir / "junit.xml").find(".//testcase[@name='no-double-fill']/failure")
    assert case is not None
    assert gate(run.run_dir) == FAIL
    assert run.survivors() == []
