"""Every page escapes every text of its record: markup, quotes and template syntax are shown, never interpreted."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kit import reports

HOSTILE = """<script>alert("x")</script>'{{ 7 * 7 }}{% raw %}&amp;"""
# Values that the pages compare or count with; all other texts are hostile.
ENUMS = {"kind", "status", "result"}


class Page(HTMLParser):
    """The tags of a page, and the text that a browser shows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile(value: Any, key: str = "") -> Any:
    """The same record with a hostile text in place of every text."""
    if isinstance(value, dict):
        return {name: hostile(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [hostile(item, key) for item in value]
    return f"{key} {HOSTILE}" if isinstance(value, str) and key not in ENUMS else value


CHECK = {
    "name": "n", "kind": "integrity", "status": "fail", "measured": 1, "limit": 0, "unit": "u", "phase": "p",
    "detail": "d", "counterexample": [{"t": 1.7e9, "what": "w"}, {"t": "t", "what": "w"}],
}  # fmt: skip
ACTION = {
    "name": "n", "action_id": "a", "status": "completed", "targets": [], "start": 1.7e9, "end": 1.7e9,
    "observed_at": 1.7e9, "healed_at": None, "proof": "p",
}  # fmt: skip
RUN = {
    "verdict": "v", "scenario": "s", "run_id": "r", "change": "c", "build": "b", "target": "t", "region": "r",
    "started_at": "t", "ended_at": "t", "reasons": ["r"], "checks": [CHECK, {**CHECK, "kind": "slo"}],
    "phases": [{"name": "p"}], "reproduce": "r",
    "load": {"intended": 1, "sent": "s", "ok": 1, "fail": 1, "info": 1, "lag_ms_p99": 0.1},
    "fault": {"injected_at": 1.7e9, "observed_at": "t", "healed_at": None, "targets": [], "actions": [ACTION]},
}  # fmt: skip
JOBS = {"requested": "r", "cores": 2, "changes": [{"after_s": 1.0, "slots": 1, "reason": "r"}]}
SUITE_RUN = {
    "verdict": "v", "scenario": "s", "run_id": "r", "attempt": 1, "counts": False, "repeat_reason": "r",
    "main_reason": "m", "reasons": ["r"], "duration_s": 1.0, "report": "r", "log": "l",
    "cpu_contention": {"words": "w"},
}  # fmt: skip
SUITE = {
    "verdict": "v", "suite": "s", "suite_id": "s", "state": "s", "reasons": ["r"], "started_at": "t", "ended_at": "t",
    "parameters": {"change": "c"}, "scenarios": ["s"], "runs": [SUITE_RUN], "jobs": JOBS, "reproduce": "r",
}  # fmt: skip
CASE = {
    "name": "n", "kind": "change", "scenario": "s", "parameters": {"seed": "s"}, "full_length": True, "title": "t",
    "breaks": "b", "caught_by": ["c", "d"], "fix": "f",
}  # fmt: skip
RESULT = {"result": "survivor", "verdict": "v", "failed_checks": ["f"], "expected_failed": ["e"], "main_reason": "m"}
POWER_RUN = {
    "case": "name", "run_id": "r", "attempt": 1, "verdict": "v", "main_reason": "m", "repeat_reason": "",
    "cpu_contention": "c", "report": "r", "log": "l", "origin": "o",
}  # fmt: skip
RATES = {name: {"words": "w"} for name in ("mutation_score", "false_alarms", "caught_by_any_check")}
POWER = {
    "verdict": "v", "power_id": "p", "state": "s", "resumed": 1, "started_at": "t", "ended_at": "t", "reasons": ["r"],
    "rates": RATES, "survivors": ["s"], "caught_by_other": ["c"], "false_alarms": ["f"], "no_evidence": ["n"],
    "not_run": ["n"], "parameters": {"seed": "s"}, "source_tree": "t", "machine": {"system": "s"}, "jobs": JOBS,
    "reproduce": "r", "cases": [CASE, {**CASE, "kind": "good"}], "results": [RESULT, {**RESULT, "failed_checks": []}],
    "runs": [{**POWER_RUN, "case": "n"}, {**POWER_RUN, "case": "n", "attempt": 2}],
}  # fmt: skip


def write_run(folder: Path) -> Path:
    rows = [{"what": HOSTILE, "local": HOSTILE, "aws": HOSTILE}]
    reports.write_html(hostile(RUN), None, folder / "page.html", believed=HOSTILE, fidelity=rows)
    return folder / "page.html"


def write_suite(folder: Path) -> Path:
    reports.write_suite_html(hostile(SUITE), folder / "page.html")
    return folder / "page.html"


def write_power(folder: Path) -> Path:
    reports.write_power_html(hostile(POWER), folder / "page.html")
    return folder / "page.html"


def write_index(folder: Path) -> Path:
    for name, record in (("verdict", RUN), ("suite", SUITE), ("power", POWER)):
        (folder / f'{name} <b>"').mkdir()
        (folder / f'{name} <b>"' / f"{name}.json").write_text(json.dumps(hostile(record)))
    return reports.write_index(folder)


@pytest.mark.parametrize("write", [write_run, write_suite, write_power, write_index])
def test_hostile_text_is_shown_as_it_is_and_never_interpreted(tmp_path, write):
    page = Page(write(tmp_path))
    assert "script" not in page.tags
    assert not {name for name in page.attributes if name.startswith("on") or "<" in name or "{" in name}
    assert page.text.count(HOSTILE) == page.text.count("{{ 7 * 7") > 0, "a text is not shown as it was written"
