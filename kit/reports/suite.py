"""The page of a suite: one verdict on top, one row per run, how the machine was shared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.reports import page

COLUMNS = ("Verdict", "Scenario", "Took", "Report", "Why", "Machine while it was measured")
REASONS_SHOWN_MAX = 3
FILES = ("suite.json", "junit.xml")


def write_suite_html(suite: Mapping[str, Any], path: Path) -> None:
    """Write the page of a `gameday.suite/1` record; links are relative to it."""
    title = f"{suite['verdict']}: suite {suite['suite']} {suite['suite_id']}"
    table = page.table(COLUMNS, [_row(run) for run in suite["runs"]])
    files = " · ".join(page.link(name, name) for name in FILES)
    body = f"{_banner(suite)}{_facts(suite)}{table}<p>{files}</p>{_sharing(suite)}{_again(suite)}"
    page.write(path, title=title, body=body)


def _banner(suite: Mapping[str, Any]) -> str:
    runs = [run for run in suite["runs"] if run["counts"]]
    passed = sum(run["verdict"] == "PASS" for run in runs)
    told = [f"{passed} of {len(suite['scenarios'])} scenarios passed", *suite["reasons"][:REASONS_SHOWN_MAX]]
    words = "".join(f"<p>{page.text(line)}</p>" for line in told)
    verdict = page.text(suite["verdict"])
    return f'<header class="banner {verdict}" role="status"><h1>{verdict}</h1>{words}</header>'


def _facts(suite: Mapping[str, Any]) -> str:
    given = ", ".join(f"{name}={value}" for name, value in suite["given"].items() if value) or "as it is"
    when = f"{_utc(suite['started_at'])} to {_utc(suite['ended_at'])[11:] or '…'}"
    return (
        f"<p>Suite {page.text(suite['suite'])}, {page.text(given)}; {page.text(when)} ({page.text(suite['state'])})</p>"
    )


def _row(run: Mapping[str, Any]) -> str:
    why = list(dict.fromkeys([run["why"], *run["reasons"]]))[:REASONS_SHOWN_MAX]
    if not run["counts"]:
        why.insert(0, f"Repeated alone, because {run['spoiled']}. This run does not count.")
    elif run["attempt"] > 1:
        why.insert(0, "Repeated alone; this run counts.")
    cells = (
        page.verdict(run["verdict"]),
        page.text(run["scenario"]),
        f"{run['duration_s']:.0f}&nbsp;s",
        f"{page.link(run['report'], run['run_id'])}<br><small>{page.link(run['log'], 'log')}</small>",
        "<br>".join(page.text(reason) for reason in why),
        f"<small>{page.text(run['pressure']['words']) if run['pressure'] else '–'}</small>",
    )
    return page.row(cells)


def _sharing(suite: Mapping[str, Any]) -> str:
    jobs = suite["jobs"]
    steps = "".join(
        f"<li>after {step['after_s']:.0f} s: {step['places']} side by side, {page.text(step['why'])}</li>"
        for step in jobs["changes"]
    )
    asked = f"{page.text(jobs['asked'])} on {jobs['cores']:g} cores"
    return f"<h2>How the machine was shared</h2><p>Jobs: {asked}.</p><ul>{steps}</ul>"


def _again(suite: Mapping[str, Any]) -> str:
    return f"<h2>Run it again</h2><pre>{page.text(suite['reproduce'])}</pre>"


def _utc(at: str | None) -> str:
    return (at or "")[:19].replace("T", " ")
