"""The page and the JUnit file of a suite: complete, and never passing when the suite is not."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from kit import reports
from tests.suite.suite_rig import DOUBLED, GOOD, a_record


def a_run(scenario: str, verdict: str = "PASS", **more) -> dict:
    failed = verdict != "PASS"
    return {
        "scenario": scenario, "run_id": f"{scenario}-0a", "attempt": 1, "counts": True, "repeat_reason": "",
        "verdict": verdict, "main_reason": "an order was doubled" if failed else "",
        "reasons": ["an order <b>was</b> doubled"] if failed else [], "duration_s": 60.0,
        "cpu_contention": {"words": "60 s measured & calm"}, "report": f"{scenario}-0a/report.html",
        "log": f"{scenario}-0a.log", **more,
    }  # fmt: skip


def a_suite(*runs: dict, **more) -> dict:
    return {
        "schema": "gameday.suite/2", "suite": "pr", "suite_id": "pr-1", "state": "done", "verdict": "FAIL",
        "reasons": ["doubled: an order <b>was</b> doubled"], "started_at": "2026-01-01T10:00:00.000Z",
        "ended_at": "2026-01-01T10:05:00.000Z", "parameters": {"change": "drop-idempotency"},
        "scenarios": [run["scenario"] for run in runs], "runs": list(runs), "reproduce": "gameday suite pr",
        "jobs": {"requested": "auto", "cores": 2, "changes": [{"after_s": 0, "slots": 1, "reason": "not known < yet"}]},
        **more,
    }  # fmt: skip


def test_the_page_shows_verdict_reasons_cpu_contention_and_how_to_repeat(tmp_path):
    suite = a_suite(a_run("calm"), a_run("doubled", "FAIL"))
    reports.write_suite_html(suite, tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text()
    for shown in (
        "1 of 2 scenarios passed", "an order &lt;b&gt;was&lt;/b&gt; doubled", "60 s measured &amp; calm",
        "drop-idempotency", "gameday suite pr", "not known &lt; yet", "10:05:00",
        'href="doubled-0a/report.html"', 'href="junit.xml"',
    ):  # fmt: skip
        assert shown in page, shown
    assert "<script" not in page and "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")


def test_a_suite_that_has_not_ended_is_an_error_in_junit(tmp_path):
    """The file that a killed suite leaves must not pass."""
    suite = a_suite(a_run("calm"), state="running", reasons=["the suite never reported its end"])
    reports.write_suite_junit(suite, [a_record("calm", GOOD)], tmp_path / "junit.xml")
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert (root.get("failures"), root.get("errors")) == ("0", "1")
    assert [one.get("name") for one in root] == ["gameday.calm", "gameday.suite"]


def test_junit_of_a_suite_has_all_counts_and_the_cpu_contention(tmp_path):
    suite = a_suite(a_run("calm"), a_run("doubled", "FAIL"))
    records = [a_record("calm", GOOD), a_record("doubled", DOUBLED)]
    reports.write_suite_junit(suite, records, tmp_path / "junit.xml")
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "2", "0")
    assert [one.get("time") for one in root] == ["60.0", "60.0"]
    assert "60 s measured & calm" in (root[0].findtext("system-out") or "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    suite = tmp_path / "pr-1"
    (suite / "calm-0a").mkdir(parents=True)
    (suite / "suite.json").write_text(json.dumps(a_suite(a_run("calm"))))
    (suite / "index.html").write_text("the suite's own page")
    (suite / "calm-0a" / "verdict.json").write_text(json.dumps(a_record("calm", GOOD)))
    return suite


def test_a_run_that_ends_leaves_the_page_of_its_suite_alone(folder):
    reports.write_index(folder)
    assert (folder / "index.html").read_text() == "the suite's own page"


def test_the_index_shows_a_suite_with_its_runs_below_and_an_incomplete_one_as_invalid(folder, tmp_path):
    page = reports.write_index(tmp_path).read_text()
    assert 'href="pr-1/index.html"' in page and page.index("pr-1") < page.index("calm-0a")
    assert "drop-idempotency" in page and 'href="pr-1/calm-0a/report.html"' not in page, "there is no such report"
    (folder / "suite.json").write_text("{")
    assert "suite.json cannot be read" in reports.write_index(tmp_path).read_text()
