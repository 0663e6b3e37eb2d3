"""Notebook, report and JUnit show every step of a counterexample's timeline."""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from kit import reports
from kit.integrity.findings.counterexample import STEPS_MAX, Subject, timeline
from kit.model import FaultWindow, Finding, Verdict
from kit.notebook import views
from kit.reports.timeline import clock
from kit.verdict import gate
from tests.histories import execution
from tests.histories.clock import T0_NS
from tests.histories.run_folder import evidence_of, judge
from tests.verdict.records import run_facts

T0 = T0_NS / 1e9
FAULT = FaultWindow(
    experiment_id="EXP1",
    template="AzLoss",
    status="completed",
    injected_at=T0 + 0.5,
    observed_at=T0 + 0.7,
    healed_at=T0 + 1.5,
)
FAULT_WORDS = ("fault AzLoss injected", "fault observed", "fault healed")


@pytest.fixture(scope="module")
def finding() -> Finding:
    """The classic bad change, with the fault in its timeline."""
    tables: Any = execution.play(execution.random_steps(seed=7, count=400), without_idempotency=True)
    return judge(tables, "no-double-fill", fault=FAULT)["no-double-fill"]


@pytest.fixture
def record(finding: Finding) -> dict[str, Any]:
    return gate.record(
        run_facts(started_at=T0, ended_at=T0 + 60), Verdict.FAIL, [finding.detail], findings=[finding], fault=FAULT
    )


def steps_of(finding: Finding) -> list[str]:
    return [step["what"] for step in finding.counterexample]


def test_the_timeline_holds_attempt_answer_event_trade_and_the_fault(finding):
    words = "\n".join(steps_of(finding))
    for part in ("sends order", "answer 2", " accepted: ", "trade ", *FAULT_WORDS):
        assert part in words


def test_the_notebook_shows_every_step_with_its_time(finding, monkeypatch):
    shown: list[str] = []
    monkeypatch.setattr(views, "_show", lambda markup, **_: shown.append(markup))
    views.show_findings([finding])
    for step in finding.counterexample:
        assert f"{clock(step['t']):>12}  {html.escape(step['what'])}" in shown[0]


def test_the_report_shows_every_step_with_its_time(finding, record, tmp_path):
    reports.write_html(record, None, tmp_path / "report.html")
    page = html.unescape((tmp_path / "report.html").read_text())
    for step in finding.counterexample:
        assert step["what"] in page
        assert clock(step["t"]) in page


def test_junit_shows_every_step_with_its_time(finding, record, tmp_path: Path):
    reports.write_junit(record, tmp_path / "junit.xml")
    failure = ET.parse(tmp_path / "junit.xml").find(".//failure")
    assert failure is not None and failure.text is not None
    for step in finding.counterexample:
        assert f"{clock(step['t']):>12}  {step['what']}" in failure.text


def test_a_long_timeline_is_cut_but_keeps_the_fault():
    """A key that was resubmitted many times has more steps than anybody reads."""
    tables: Any = execution.play(execution.random_steps(seed=7, count=40), without_idempotency=True)
    attempts = tables["attempts"]
    key = attempts[attempts["op"] == "order"]["idempotency_key"].iloc[0]
    mine = attempts[attempts["idempotency_key"] == key]
    repeated = attempts.loc[[*attempts.index, *[mine.index[0]] * 40]]
    with evidence_of({**tables, "attempts": repeated}, fault=FAULT) as evidence:
        steps = timeline(evidence, Subject(keys=(int(evidence.sent["key"][0]),)))
    words = [step["what"] for step in steps]
    assert len(steps) == STEPS_MAX
    assert sum("more steps left out" in what for what in words) == 1
    assert all(any(part in what for what in words) for part in FAULT_WORDS)
