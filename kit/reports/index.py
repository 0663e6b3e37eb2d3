"""The list of all runs in a reports folder, newest first, as one static page."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;
max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1c1c1e}
table{border-collapse:collapse;width:100%}
td,th{padding:.45rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
b{padding:.1rem .5rem;border-radius:5px;color:#fff}
.PASS{background:#146c2e}.FAIL{background:#b3261e}.ABORTED{background:#8a5a00}.INVALID{background:#5f6368}
"""
HEAD = (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Game days</title>'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)


def write_index(reports: Path) -> Path:
    """Write `reports/index.html` from every `verdict.json` below `reports`; a broken one is listed as such."""
    rows = [_row(path) for path in sorted(reports.glob("*/verdict.json"), key=_age, reverse=True)]
    columns = "".join(f"<th>{name}</th>" for name in ("Verdict", "Run", "Scenario", "Change", "Started (UTC)", "Why"))
    body = f"<h1>Game days</h1><table><tr>{columns}</tr>{''.join(rows)}</table>"
    path = reports / "index.html"
    path.write_text(f"{HEAD}<style>{STYLE}</style></head><body>{body}</body></html>", encoding="utf-8")
    return path


def _age(path: Path) -> float:
    return path.stat().st_mtime


def _row(path: Path) -> str:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        cells = (
            record["scenario"],
            record["change"] or "–",
            record["started_at"] or "–",
            "; ".join(record["reasons"][:2]),
        )
        verdict = record["verdict"]
    except (ValueError, KeyError, TypeError):
        cells, verdict = ("–", "–", "–", "verdict.json cannot be read"), "INVALID"
    run = html.escape(path.parent.name)
    link = f'<a href="{run}/report.html">{run}</a>' if (path.parent / "report.html").exists() else run
    rest = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells)
    return f'<tr><td><b class="{html.escape(verdict)}">{html.escape(verdict)}</b></td><td>{link}</td>{rest}</tr>'
