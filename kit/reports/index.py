"""The list of all runs and suites in a reports folder, newest first, as one static page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kit.reports import page

COLUMNS = ("Verdict", "Run", "Scenario", "Change", "Started (UTC)", "Why")
RUN, SUITE, POWER = "verdict.json", "suite.json", "power.json"
REASONS_SHOWN_MAX = 2


def write_index(reports: Path) -> Path:
    """Write `reports/index.html` from every `verdict.json`, `suite.json` and `power.json` below `reports`; a broken one
    is listed as such, a suite's runs below it. The folder of a suite, or of a measurement of power, has a page of its
    own, which stays.
    """
    path = reports / "index.html"
    if not any((reports / name).exists() for name in (SUITE, POWER)):
        found = [path for name in (RUN, SUITE, POWER) for path in reports.glob(f"*/{name}")]
        rows = [row for one in sorted(found, key=_age, reverse=True) for row in _rows(reports, one)]
        page.write(path, title="Game days", body=f"<h1>Game days</h1>{page.table(COLUMNS, rows)}")
    return path


def _age(path: Path) -> float:
    return path.stat().st_mtime


def _rows(reports: Path, path: Path) -> Iterator[str]:
    if path.name == RUN:
        yield _row(path, _run_cells, f"{path.parent.name}/report.html", path.parent.name)
        return
    if path.name == POWER:
        # Its runs are bad on purpose: they stand on its own page, where their results can be read.
        yield _row(path, _power_cells, f"{path.parent.name}/index.html", path.parent.name)
        return
    yield _row(path, _suite_cells, f"{path.parent.name}/index.html", path.parent.name)
    for run in sorted(path.parent.glob(f"*/{RUN}"), key=_age):
        where = run.parent.relative_to(reports).as_posix()
        yield _row(run, _run_cells, f"{where}/report.html", run.parent.name, kind="within")


def _row(path: Path, cells_of: Any, target: str, name: str, kind: str = "") -> str:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        cells, verdict = cells_of(record), str(record["verdict"])
    except (ValueError, KeyError, TypeError):
        cells, verdict = ("–", "–", "–", f"{path.name} cannot be read"), "INVALID"
    there = (path.parent / target.rpartition("/")[2]).exists()
    return page.row((page.verdict(verdict), page.link(target if there else "", name), *map(page.text, cells)), kind)


def _run_cells(record: dict[str, Any]) -> tuple[str, str, str, str]:
    return (record["scenario"], record["change"] or "–", record["started_at"] or "–", _why(record))


def _suite_cells(record: dict[str, Any]) -> tuple[str, str, str, str]:
    named = f"suite {record['suite']}: {len(record['scenarios'])} scenarios"
    return (named, record["given"].get("change") or "–", record["started_at"] or "–", _why(record))


def _power_cells(record: dict[str, Any]) -> tuple[str, str, str, str]:
    rates = (record["rates"][name]["words"] for name in ("caught", "false_alarms"))
    return ("power of the gate", "each in turn", record["started_at"], "; ".join(rates))


def _why(record: dict[str, Any]) -> str:
    return "; ".join(record["reasons"][:REASONS_SHOWN_MAX])
