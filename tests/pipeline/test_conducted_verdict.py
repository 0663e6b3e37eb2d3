"""The verdict of a conducted run: that of its judge, no better than how the run was conducted and ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit.load.artifacts import Artifacts
from kit.model import CheckKind, Finding, RunFacts, Status, Verdict
from kit.pipeline.conduct import conduct_problems
from kit.pipeline.conducted_run import verdict_of, with_leftovers
from kit.pipeline.execution import Ending
from kit.pipeline.judge import summary, task_errors
from kit.verdict import gate
from tests.load.bucket import Bucket
from tests.pipeline.conducting import asserted

FACTS = RunFacts(run_id="r-1", scenario="az-loss", target="local", region="us-east-1", seed=7, reproduce="gameday x")
GIVEN = {"parameters": {"scenario": "az-loss", "seed": 7, "target": "local", "region": "us-east-1"}, "reproduce": "x"}
SUCCEEDED = Ending(status="SUCCEEDED", error="", cause="")


def record(verdict: Verdict, *reasons: str, findings: tuple[Finding, ...] = ()) -> dict[str, Any]:
    passed = Finding(name="orders-durable", kind=CheckKind.INTEGRITY, status=Status.PASS, detail="d")
    return gate.record(FACTS, verdict, reasons, findings=(passed, *findings))


def failing(name: str, measured: float = 2) -> Finding:
    return Finding(name=name, kind=CheckKind.INTEGRITY, status=Status.FAIL, detail="d", measured=measured)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "r-1"
    folder.mkdir()
    return folder


def ended(verdict: Verdict) -> Ending:
    return SUCCEEDED if verdict is Verdict.PASS else Ending(status="FAILED", error=f"GameDay.{verdict}", cause="why")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_judge_s_verdict_stands_if_the_execution_ended_by_it(run_dir: Path, verdict: Verdict):
    written = record(verdict, *(() if verdict is Verdict.PASS else ("why",)))
    (run_dir / "verdict.json").write_text(json.dumps(written))
    assert verdict_of(run_dir, ended(verdict), GIVEN) == written


@pytest.mark.parametrize(
    "ending",
    [
        None,
        Ending(status="ABORTED", error="GameDay.Stopped", cause="by a test"),
        Ending(status="TIMED_OUT", error="", cause=""),
        Ending(status="FAILED", error="States.Runtime", cause="bad"),
        Ending(status="FAILED", error="GameDay.FAIL", cause="of another verdict"),
    ],
)
def test_a_pass_needs_an_execution_that_succeeded(run_dir: Path, ending: Ending | None):
    (run_dir / "verdict.json").write_text(json.dumps(record(Verdict.PASS)))
    found = verdict_of(run_dir, ending, GIVEN)
    assert found["verdict"] == Verdict.INVALID
    assert found["reasons"]


def test_a_fail_stays_however_the_execution_ended(run_dir: Path):
    (run_dir / "verdict.json").write_text(json.dumps(record(Verdict.FAIL, "no-double-fill: d")))
    found = verdict_of(run_dir, Ending(status="ABORTED", error="", cause=""), GIVEN)
    assert (found["verdict"], found["reasons"][1]) == (Verdict.FAIL, "no-double-fill: d")


@pytest.mark.parametrize("text", ["", "{}", '{"run_id": "r-1"}', json.dumps(record(Verdict.PASS) | {"run_id": "r-2"})])
def test_a_record_that_is_none_or_of_another_run_is_no_verdict(run_dir: Path, text: str):
    (run_dir / "verdict.json").write_text(text)
    assert verdict_of(run_dir, SUCCEEDED, GIVEN)["verdict"] == Verdict.INVALID


def test_a_run_without_a_record_is_invalid_with_the_end_of_its_execution(run_dir: Path):
    found = verdict_of(run_dir, Ending(status="ABORTED", error="GameDay.Stopped", cause="stopped by SIGTERM"), GIVEN)
    assert found["verdict"] == Verdict.INVALID
    assert found["reasons"][0] == "the execution ended ABORTED: GameDay.Stopped: stopped by SIGTERM"
    assert found["scenario"] == "az-loss"


def test_a_run_that_leaves_something_behind_fails():
    assert with_leftovers(record(Verdict.PASS), []) == record(Verdict.PASS)
    found = with_leftovers(record(Verdict.PASS), ["stack x"])
    assert (found["verdict"], found["reasons"]) == (Verdict.FAIL, ["nothing-left-behind: stack x"])


# ---- what the judge makes of how the run was conducted ----


def test_a_well_conducted_run_has_no_problem():
    assert conduct_problems({"steadyState": asserted(), "slos": asserted(), "experiment": "EXP1"}) == []


@pytest.mark.parametrize(
    ("conducted", "problem"),
    [
        ({}, "assertion steadyState was not made"),
        ({"steadyState": asserted(), "slos": None}, "assertion slos was not made"),
        ({"steadyState": asserted(ledger=False), "slos": asserted()}, "assertion a did not pass"),
        ({"failed": ["load task 1: late"], "steadyState": asserted(), "slos": asserted()}, "load task 1: late"),
        ({"error": {"Error": "States.Timeout", "Cause": "x\n y"}}, "could not conduct the run: States.Timeout: x y"),
    ],
)
def test_what_speaks_against_a_pass_is_told(conducted: dict[str, Any], problem: str):
    assert problem in "; ".join(conduct_problems(conducted))


def test_tasks_that_failed_say_why_themselves():
    artifacts = Artifacts(s3=Bucket(), bucket="artifacts", run_id="r-1")
    assert task_errors(artifacts, 2) == []
    artifacts.put_json("load/failed/shard-00001.json", {"error": "late for its start"})
    artifacts.put_json("watch/failed.json", {"error": "a target is not of this run"})
    assert task_errors(artifacts, 2) == [
        "watching task: a target is not of this run",
        "load task 1: late for its start",
    ]


def test_the_summary_names_the_check_of_the_first_reason():
    findings = (failing("one-event-per-order"), failing("no-double-fill", 7))
    found = summary(record(Verdict.FAIL, "no-double-fill: d", "one-event-per-order: d", findings=findings))
    assert (found["verdict"], found["cause"]) == (Verdict.FAIL, "no-double-fill")
    assert found["violations"] == {"one-event-per-order": 2, "no-double-fill": 7}


def test_the_summary_is_short_whatever_the_reasons_are():
    found = summary(record(Verdict.INVALID, *(f"{number} {'x' * 5_000}" for number in range(60))))
    assert found["cause"] == "conduct"
    assert len(json.dumps(found)) < 2_500
