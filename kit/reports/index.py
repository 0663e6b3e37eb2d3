"""Write the list of all runs and suites in a reports folder, newest first, as one static page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kit.errors import EvidenceMissing
from kit.files import read_object
from kit.reports.render import write_page

RUN, SUITE, POWER = "verdict.json", "suite.json", "power.json"
REASONS_SHOWN_MAX = 2
CELL_CHARS_MAX = 1_000


def write_index(reports: Path) -> Path:
    """Write `reports/index.html` from every `verdict.json`, `suite.json` and `power.json` below `reports`.

    The runs of a suite are listed below it. A record that cannot be read is listed as INVALID. The folder of a suite
    or of a power measurement has an index page of its own, which is left as it is.
    """
    path = reports / "index.html"
    if not any((reports / name).exists() for name in (SUITE, POWER)):
        records = [path for name in (RUN, SUITE, POWER) for path in reports.glob(f"*/{name}")]
        write_page(
            path,
            "index.html.j2",
            rows=[row for record in sorted(records, key=_age, reverse=True) for row in _rows(record)],
        )
    return path


def _age(path: Path) -> float:
    return path.lstat().st_mtime


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    folder = path.parent
    if path.name == RUN:
        yield _row(path, _run_cells, f"{_url(folder)}/report.html")
    elif path.name == POWER:
        # Its runs are not listed: they carry bad changes on purpose, and its own page explains their results.
        yield _row(path, _power_cells, f"{_url(folder)}/index.html")
    else:
        yield _row(path, _suite_cells, f"{_url(folder)}/index.html")
        for run in sorted(folder.glob(f"*/{RUN}"), key=_age):
            row = _row(run, _run_cells, f"{_url(folder)}/{_url(run.parent)}/report.html")
            yield {**row, "within_suite": True}


def _row(path: Path, cells_of: Callable[[Mapping[str, Any]], dict[str, str]], target: str) -> dict[str, Any]:
    try:
        record = read_object(path)
        cells = {"verdict": str(record["verdict"]), **cells_of(record)}
        cells = {"reasons": "; ".join(map(str, record["reasons"][:REASONS_SHOWN_MAX])), **cells}
        cells = {name: str(value)[:CELL_CHARS_MAX] for name, value in cells.items()}
    except (EvidenceMissing, KeyError, TypeError, AttributeError) as error:
        cells = dict.fromkeys(("scenario", "change", "started_at"), "–")
        cells |= {"verdict": "INVALID", "reasons": f"{path.name} cannot be read: {_why(error)}"}
    exists = os.path.exists(path.parent / target.rpartition("/")[2])
    return {**cells, "target": target if exists else "", "name": shown(path.parent.name), "within_suite": False}


def _url(folder: Path) -> str:
    return quote(os.fsencode(folder.name))


def shown(name: str) -> str:
    """Return the name of a file as text that every encoding takes: its bytes may be no UTF-8."""
    return os.fsencode(name).decode(errors="replace")


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, EvidenceMissing) else "it has not the members of its schema"


def _run_cells(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        "scenario": record["scenario"],
        "change": record["change"] or "–",
        "started_at": record["started_at"] or "–",
    }


def _suite_cells(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        "scenario": f"suite {record['suite']}: {len(record['scenarios'])} scenarios",
        "change": record["parameters"].get("change") or "–",
        "started_at": record["started_at"] or "–",
    }


def _power_cells(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        "scenario": "power of the gate",
        "change": "one per run",
        "started_at": record["started_at"],
        "reasons": "; ".join(record["rates"][name]["words"] for name in ("mutation_score", "false_alarms")),
    }
