"""The report, JUnit and the index: self-contained and complete."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kit import reports
from kit.model import CheckKind, FaultWindow, Finding, LoadStats, Status, Verdict
from kit.verdict import gate
from tests.verdict.records import run_facts

TIMELINE = (
    {"t": 1_700_000_000.25, "what": "client c1 sends order <b>o1</b> under key k1"},
    {"t": None, "what": "stored at the end: FILLED\x00"},
)
FINDINGS = (
    Finding(
        name="no-double-fill", kind=CheckKind.INTEGRITY, status=Status.FAIL, detail="1 of 9 orders was filled twice",
        measured=1, limit=0, unit="orders", counterexample=TIMELINE,
    ),
    Finding(name="generator-lag", kind=CheckKind.GENERATOR, status=Status.INVALID, detail="lag is not known"),
    Finding(
        name="latency-ms-p95", kind=CheckKind.SLO, status=Status.PASS, detail="fine", measured=12.5, limit=250,
        unit="ms", phase="after",
    ),
)  # fmt: skip


@pytest.fixture
def record() -> dict:
    return gate.record(
        run_facts(build="sha256:0123", change="drop-idempotency", started_at=1.7e9, ended_at=1.7e9 + 60),
        Verdict.FAIL, ["no-double-fill: 1 of 9 orders was filled twice"], findings=FINDINGS,
        fault=FaultWindow(experiment_id="EXP1", template="EXT1", status="completed", injected_at=1.7e9 + 20),
        load=LoadStats(intended=9, sent=12, ok=12, fail=0, info=0, dropped=0, lag_ms_p99=0.2),
    )  # fmt: skip


@pytest.fixture
def executed(tmp_path: Path) -> Path:
    figure = new_output("display_data", {"image/svg+xml": "<svg></svg>"}, metadata={"alt": "latency by second"})
    scrap = new_output("display_data", {"application/scrapbook.scrap.json+json": {"data": "a secret scrap"}})
    error = new_output("error", ename="VerdictNotPass", evalue="x", traceback=["a long traceback"])
    cells = [
        new_markdown_cell("# What happened"),
        new_code_cell("secret_code()", outputs=[figure, scrap, error]),
        new_code_cell("rate = 1", metadata={"tags": ["parameters"]}),
    ]
    path = tmp_path / "executed.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_the_report_is_one_file_without_scripts_code_or_network(record, executed, tmp_path):
    reports.write_html(record, executed, tmp_path / "report.html", believed="A zone may die.")
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page.lower()
    assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page) == []
    assert "Content-Security-Policy" in page and "default-src 'none'" in page
    for hidden in ("secret_code", "a secret scrap", "a long traceback", "rate = 1"):
        assert hidden not in page
    assert len(page) < 5_000_000


def test_the_report_shows_verdict_hypothesis_counterexample_limits_and_how_to_repeat(record, executed, tmp_path):
    rows = [{"what": "Task start", "local": "a second", "aws": "a minute"}]
    reports.write_html(record, executed, tmp_path / "report.html", believed="A zone may die.", fidelity=rows)
    page = (tmp_path / "report.html").read_text()
    for shown in (
        "FAIL", "A zone may die.", "filled twice", "drop-idempotency", "22:13:20.250", "&lt;b&gt;o1&lt;/b&gt;",
        "What happened", "latency by second", "gameday run az-loss --seed 7", "Task start", "250",
    ):  # fmt: skip
        assert shown in page, shown


@pytest.mark.parametrize("notebook", ["missing", "broken"])
def test_a_report_is_written_even_without_a_readable_notebook(record, tmp_path, notebook):
    path = tmp_path / "executed.ipynb"
    if notebook == "broken":
        path.write_text("{")
    reports.write_html(record, path, tmp_path / "report.html")
    assert "filled twice" in (tmp_path / "report.html").read_text()


def test_junit_has_a_case_for_each_check_and_one_for_the_verdict(record, tmp_path):
    reports.write_junit(record, tmp_path / "junit.xml")
    suite = ET.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "2", "1")
    failure = suite.find("testcase[@name='no-double-fill']/failure")
    assert failure is not None and failure.text is not None
    assert "filled twice" in failure.text and "under key k1" in failure.text
    assert suite.find("testcase[@name='generator-lag']/error") is not None
    assert suite.find("testcase[@name='latency-ms-p95 [after]']") is not None


def test_the_index_lists_runs_newest_first_and_broken_ones_as_invalid(record, tmp_path):
    for age, name, text in ((2, "good", json.dumps(record)), (1, "torn", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "verdict.json").write_text(text)
        os.utime(tmp_path / name / "verdict.json", (1e9 - age, 1e9 - age))
    (tmp_path / "good" / "report.html").write_text("x")
    page = reports.write_index(tmp_path).read_text()
    assert page.index(">torn<") < page.index(">good<")
    assert 'href="good/report.html"' in page
    assert "verdict.json cannot be read" in page and "INVALID" in page
