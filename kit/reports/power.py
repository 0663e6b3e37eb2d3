"""The page of a measurement of power: the rates and every survivor on top, then a row per change and per good run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kit.reports import page

CHANGES = ("Change", "Scenario", "Result", "Verdict", "Checks that failed", "Named in its header", "Report")
GOOD = ("Good run", "Scenario", "Seed", "Result", "Verdict", "Why", "Report")
FILES = ("power.json", "power.md")
# What is told by name on top, and where the record has it.
LISTS = {
    "Survivors": "survivors",
    "Caught by another check than their header names": "caught_by_other",
    "False alarms": "alarms",
    "No evidence": "silent",
    "Not run": "pending",
}
# The colour of a result is that of the verdict which says as much of a build.
COLOURS = {
    "caught": "PASS",
    "no alarm": "PASS",
    "caught by another check": "ABORTED",
    "survivor": "FAIL",
    "false alarm": "FAIL",
    "no evidence": "INVALID",
    "not run": "INVALID",
}


def write_power_html(power: Mapping[str, Any], path: Path) -> None:
    """Write the page of a `gameday.power/1` record; links are relative to it."""
    rows = list(_joined(power))
    changes = page.table(CHANGES, [_change(row) for row in rows if row["case"]["kind"] == "change"])
    good = page.table(GOOD, [_good(row) for row in rows if row["case"]["kind"] == "good"])
    files = " · ".join(page.link(name, name) for name in FILES)
    body = (
        f"{_banner(power)}{_lists(power)}{_facts(power)}<h2>Bad changes</h2>{changes}<h2>Good runs</h2>{good}"
        f"<p>{files}</p>{_sharing(power['jobs'])}<h2>Measure it again</h2><pre>{page.text(power['reproduce'])}</pre>"
    )
    page.write(path, title=f"{power['verdict']}: power {power['power_id']}", body=body)


def _joined(power: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row a case: the case, its result, and all its runs, the one that counts last."""
    for case, result in zip(power["cases"], power["results"], strict=True):
        runs = sorted((run for run in power["runs"] if run["case"] == case["name"]), key=lambda run: run["attempt"])
        yield {"case": case, "result": result, "runs": runs}


def _banner(power: Mapping[str, Any]) -> str:
    rates = power["rates"]
    told = [rates["caught"]["words"], rates["false_alarms"]["words"], rates["noticed"]["words"]]
    words = "".join(f"<p>{page.text(line)}</p>" for line in told)
    verdict = page.text(power["verdict"])
    return f'<header class="banner {verdict}" role="status"><h1>{verdict}</h1>{words}</header>'


def _lists(power: Mapping[str, Any]) -> str:
    named = [(title, power[key]) for title, key in LISTS.items() if power[key] or key == "survivors"]
    lines = "".join(
        f"<p><b>{page.text(title)}:</b> {page.text(', '.join(names) or 'none')}</p>" for title, names in named
    )
    reasons = "".join(f"<li>{page.text(reason)}</li>" for reason in power["reasons"])
    return f"{lines}<ul>{reasons}</ul>"


def _facts(power: Mapping[str, Any]) -> str:
    given = ", ".join(f"{name}={value}" for name, value in power["given"].items()) or "as it is"
    machine = ", ".join(f"{name} {value}" for name, value in power["machine"].items())
    again = f", resumed {power['resumed']} times" if power["resumed"] else ""
    when = f"{_utc(power['started_at'])} to {_utc(power['ended_at']) or '…'} ({power['state']}{again})"
    lines = (when, f"Given: {given}", f"Source tree {power['tree']}", f"Machine: {machine}")
    return "".join(f"<p><small>{page.text(line)}</small></p>" for line in lines)


def _change(row: Mapping[str, Any]) -> str:
    case, result = row["case"], row["result"]
    full = "<br><small>full length</small>" if case["full"] else ""
    named = "<br>".join(_tick(check, check in result["named"]) for check in case["caught_by"])
    fired = "<br>".join(page.text(check) for check in result["fired"]) or f"<small>{page.text(result['why'])}</small>"
    cells = (
        f"<b>{page.text(case['name'])}</b><br><small>{page.text(case['title'])}<br>Breaks: "
        f"{page.text(case['breaks'])}<br>Fix: {page.text(case['fix'])}</small>",
        f"{page.text(case['scenario'])}{full}",
        _result(result["result"]),
        page.text(result["verdict"]),
        fired,
        named,
        _reports(row["runs"]),
    )
    return page.row(cells)


def _good(row: Mapping[str, Any]) -> str:
    case, result, runs = row["case"], row["result"], row["runs"]
    origin = f"<br><small>of {page.text(runs[-1]['origin'])}</small>" if runs and runs[-1]["origin"] else ""
    cells = (
        f"{page.text(case['name'])}{origin}",
        page.text(case["scenario"]),
        page.text(case["given"].get("seed", "")),
        _result(result["result"]),
        page.text(result["verdict"]),
        page.text(result["why"]),
        _reports(runs),
    )
    return page.row(cells)


def _result(word: str) -> str:
    return f'<b class="verdict {COLOURS[word]}">{page.text(word)}</b>'


def _tick(check: str, failed: bool) -> str:
    return f"<b>{page.text(check)}</b> ✓" if failed else page.text(check)


def _reports(runs: Sequence[Mapping[str, Any]]) -> str:
    """Every run of a case, the last one counts; why the others do not."""
    shown = []
    for at, run in enumerate(runs):
        link = page.link(run["report"], run["run_id"])
        log = f" <small>{page.link(run['log'], 'log')}</small>" if run["log"] else ""
        why = run["spoiled"] or run["why"]
        before = "" if at == len(runs) - 1 else f"<br><small>does not count: {run['verdict']}, {page.text(why)}</small>"
        machine = f"<br><small>{page.text(run['machine'])}</small>" if run["machine"] else ""
        shown.append(f"{link}{log}{before}{machine}")
    return "<br>".join(shown)


def _sharing(jobs: Mapping[str, Any]) -> str:
    steps = "".join(
        f"<li>after {step['after_s']:.0f} s: {step['places']} side by side, {page.text(step['why'])}</li>"
        for step in jobs["changes"]
    )
    asked = f"{page.text(jobs['asked'])} on {jobs['cores']:g} cores"
    return f"<h2>How the machine was shared</h2><p>Jobs: {asked}.</p><ul>{steps}</ul>"


def _utc(at: str | None) -> str:
    return (at or "")[:19].replace("T", " ")
