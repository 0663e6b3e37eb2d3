"""What a notebook shows between the stages: small HTML tables and a line that updates itself while a stage runs."""

from __future__ import annotations

import html
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from kit.model import Finding
from kit.reports.html import HIDE_OUTPUT
from kit.reports.timeline import step_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = {"pass": "#146c2e", "fail": "#b3261e", "invalid": "#5f6368"}
LINE_EVERY_S = 5.0


def say(text: str) -> None:
    """One line of progress, in the notebook's output and in the terminal of a headless run."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Live:
    """A figure that replaces itself while a stage runs and somebody watches; sparse lines when headless."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._interactive = not os.environ.get("GAMEDAY_HEADLESS")
        self._said_at = float("-inf")

    def update(self, now: float, text: str, figure: Callable[[], Figure]) -> None:
        """Show the state as of the monotonic time `now`; `figure` is only drawn for somebody who watches."""
        if not self._interactive:
            if now - self._said_at >= LINE_EVERY_S:
                self._said_at = now
                say(text)
            return
        from IPython.display import SVG, display

        picture = SVG(data=_svg(figure()))
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        elif self._handle:
            self._handle.update(picture)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    return buffer.getvalue()


def show_table(table: pd.DataFrame) -> None:
    """A table without its index."""
    _show(table.to_html(index=False, border=0, classes="gd"))


def show_findings(findings: Sequence[Finding], *, stories: bool = False) -> None:
    """Findings as a table; with `stories`, each violation's counterexample below it."""
    head = "".join(f"<th>{name}</th>" for name in ("check", "phase", "result", "measured", "limit", "meaning"))
    body = "".join(_row(finding) for finding in findings)
    told = "".join(_story(finding) for finding in findings if stories and finding.counterexample)
    _show(f'<table class="gd"><tr>{head}</tr>{body}</table>{told}', **{HIDE_OUTPUT: True})


def show_reasons(reasons: Sequence[str]) -> None:
    """Why a verdict is what it is, in the notebook alone: the command that runs one headless tells the reasons itself,
    as the gate may believe them.
    """
    if reasons:
        told = "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons)
        _show(f"<ul>{told}</ul>", **{HIDE_OUTPUT: True})


def _row(finding: Finding) -> str:
    unit = f" {finding.unit}" if finding.unit else ""
    measured = "–" if finding.measured is None else f"{finding.measured:.4g}{unit}"
    limit = "–" if finding.limit is None else f"{finding.limit:.4g}{unit}"
    mark = f'<b style="color:{MARKS[finding.status.value]}">{finding.status.value}</b>'
    cells = (finding.name, finding.phase, None, measured, limit, finding.detail)
    return "<tr>" + "".join(f"<td>{mark if cell is None else html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _story(finding: Finding) -> str:
    """The timeline, whole: who cuts one up says so in a step of it."""
    steps = "\n".join(step_line(step) for step in finding.counterexample)
    return f"<p><b>{html.escape(finding.name)}</b></p><pre>{html.escape(steps)}</pre>"


def _show(markup: str, **metadata: bool) -> None:
    from IPython.display import HTML, display

    display(HTML(markup), metadata=metadata)
