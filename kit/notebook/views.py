"""Show tables, findings and progress in a notebook, and lines of text when it runs headless."""

from __future__ import annotations

import html
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from kit.model import NS_PER_MS, NS_PER_S, Finding, LoadStats
from kit.reports.html import HIDE_OUTPUT
from kit.reports.timeline import step_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = {"pass": "#146c2e", "fail": "#b3261e", "invalid": "#5f6368"}
LINE_EVERY_S = 5.0
# A logarithmic axis has no zero.
SHOWN_MS_MIN = 0.1
TARGET_COLUMNS = ("name", "type", "zone", "service", "id")
EVENT_COUNTS = {"orders sequenced": "accepted", "rejected": "rejected", "fills": "fill", "cancelled": "cancelled"}


def say(text: str) -> None:
    """Print a line of progress, in the notebook's output and in the terminal of a headless run."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Live:
    """Show the progress of a stage: a figure that updates itself in JupyterLab, a line now and then when headless."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._interactive = not os.environ.get("GAMEDAY_HEADLESS")
        self._printed_at = float("-inf")

    def update(self, now: float, text: str, figure: Callable[[], Figure]) -> None:
        """Show the state at the monotonic time `now`; `figure` is only drawn in JupyterLab."""
        if not self._interactive:
            if now - self._printed_at >= LINE_EVERY_S:
                self._printed_at = now
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


def show_brief(title: str, hypothesis: str) -> None:
    """Show a scenario's title and hypothesis; the report has them on its first screen."""
    text = f"<h3>{html.escape(title)}</h3><p>{html.escape(hypothesis)}</p>"
    _show(text, **{HIDE_OUTPUT: True})


def show_table(table: pd.DataFrame) -> None:
    """Show a table without its index."""
    _show(table.to_html(index=False, border=0, classes="gd"))


def show_findings(findings: Sequence[Finding]) -> None:
    """Show findings as a table, with the counterexample of each violation below it."""
    head = "".join(f"<th>{name}</th>" for name in ("check", "phase", "result", "measured", "limit", "meaning"))
    body = "".join(_row(finding) for finding in findings)
    timelines = "".join(_timeline(finding) for finding in findings if finding.counterexample)
    _show(f'<table class="gd"><tr>{head}</tr>{body}</table>{timelines}', **{HIDE_OUTPUT: True})


def show_reasons(reasons: Sequence[str]) -> None:
    """Show the reasons of a verdict in the notebook only; after a headless run the command prints them."""
    if reasons:
        items = "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons)
        _show(f"<ul>{items}</ul>", **{HIDE_OUTPUT: True})


def target_table(targets: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Make a table of the targets that FIS resolved."""
    rows = [[target[name] for name in TARGET_COLUMNS] for target in targets]
    return pd.DataFrame(rows, columns=pd.Index(TARGET_COLUMNS))


def reconciliation_table(stats: LoadStats, events: pd.DataFrame, pending: Mapping[str, int]) -> pd.DataFrame:
    """Compare what was sent with what the ledger recorded. `pending`: what was still under way at the end."""
    rows = {
        "operations intended": stats.intended,
        "attempts sent": stats.sent,
        **{name: len(events[events["type"] == kind]) for name, kind in EVENT_COUNTS.items()},
        **pending,
    }
    return pd.DataFrame(list(rows.items()), columns=pd.Index(["what", "count"]))


def event_times(events: pd.DataFrame, kind: str) -> list[float]:
    """Return when the ledger recorded events of a kind, in epoch seconds."""
    return (events.loc[events["type"] == kind, "ts_ns"] / NS_PER_S).tolist()


def first_fill_times(events: pd.DataFrame) -> pd.DataFrame:
    """Return the time from acceptance to first fill by order, by the ledger's clock: columns t (epoch s), ms."""
    accepted = events.loc[events["type"] == "accepted", ["order_id", "ts_ns"]].drop_duplicates("order_id")
    fills = events[events["type"] == "fill"]
    sides = [
        pd.DataFrame({"order_id": fills[side], "filled_ns": fills["ts_ns"]})
        for side in ("taker_order_id", "maker_order_id")
    ]
    first = pd.concat(sides).groupby("order_id", as_index=False).agg({"filled_ns": "min"})
    both = accepted.merge(first, on="order_id")
    ms = (both["filled_ns"] - both["ts_ns"]) / NS_PER_MS
    return pd.DataFrame({"t": both["ts_ns"] / NS_PER_S, "ms": ms.clip(lower=SHOWN_MS_MIN)})


def _row(finding: Finding) -> str:
    unit = f" {finding.unit}" if finding.unit else ""
    measured = "–" if finding.measured is None else f"{finding.measured:.4g}{unit}"
    limit = "–" if finding.limit is None else f"{finding.limit:.4g}{unit}"
    mark = f'<b style="color:{MARKS[finding.status.value]}">{finding.status.value}</b>'
    cells = (finding.name, finding.phase, None, measured, limit, finding.detail)
    return "<tr>" + "".join(f"<td>{mark if cell is None else html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _timeline(finding: Finding) -> str:
    steps = "\n".join(step_line(step) for step in finding.counterexample)
    return f"<p><b>{html.escape(finding.name)}</b></p><pre>{html.escape(steps)}</pre>"


def _show(markup: str, **metadata: bool) -> None:
    from IPython.display import HTML, display

    display(HTML(markup), metadata=metadata)
