"""The frame of the kit's own static pages: no scripts, no network, readable on any screen."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;
max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1c1c1e}
table{border-collapse:collapse;width:100%}
td,th{padding:.45rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
.verdict{padding:.1rem .5rem;border-radius:5px;color:#fff;font-weight:700}
.PASS{background:#146c2e}.FAIL{background:#b3261e}.ABORTED{background:#8a5a00}.INVALID{background:#5f6368}
.banner{padding:1.1rem 1.5rem;color:#fff;border-radius:10px}.banner h1{margin:0}.banner p{margin:.35rem 0 0}
.within td:nth-child(2){padding-left:1.8rem}
pre{background:#f4f4f6;padding:.7rem .9rem;border-radius:6px;white-space:pre-wrap}
small{color:#5f6368}
"""
HEAD = (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)


def write(path: Path, *, title: str, body: str) -> None:
    """Replace the page at `path` in one step; `body` is markup."""
    head = f"{HEAD}<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
    part = path.with_suffix(".part")
    part.write_text(f"{head}<body>{body}</body></html>", encoding="utf-8")
    part.replace(path)


def table(columns: Sequence[str], rows: Iterable[str]) -> str:
    """A table from rows of markup (see `row`)."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def row(cells: Iterable[str], kind: str = "") -> str:
    """One row; each cell is markup."""
    return f'<tr class="{kind}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def verdict(word: str) -> str:
    """A verdict in its colour."""
    return f'<b class="verdict {html.escape(word)}">{html.escape(word)}</b>'


def link(target: str, text: str) -> str:
    """A link to a file below the page's folder; only the text if there is no target."""
    words = html.escape(text)
    return f'<a href="{html.escape(target)}">{words}</a>' if target else words


def text(value: object) -> str:
    """Plain text as markup."""
    return html.escape(str(value))
