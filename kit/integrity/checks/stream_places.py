"""Check that whoever subscribes finds a place: one that has left makes room for another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kit.integrity.arrays.columns import Rows
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Step, Subject
from kit.model import NS_PER_S, PLANNED_RECONNECT

CHECKS = Checks()
# A stream that its server closes so soon was refused. One whose task has no market data is closed after seconds.
REFUSED_NS_MAX = NS_PER_S
# Close codes that are no refusal: still open, closed by both sides, the server leaves, none came, the server restarts.
OTHER_CODES = (0, 1000, 1001, 1006, 1012, PLANNED_RECONNECT)
# A fault refuses a few streams, and half of them while one of two zones is cut off. What leaks never comes back.
STRETCH, SHARE_MAX = 40, 0.6
SHOWN_MAX = 6


@CHECKS.add(
    "subscribers-find-places",
    noun="opened streams",
    hold="found a place, but for a few at a time",
    broke="were closed at once, most of those in a row",
    needs=("connections",),
)
def subscribers_find_places(evidence: Evidence) -> Result:
    """Check that in no `STRETCH` streams in a row more than `SHARE_MAX` are refused.

    A stream is refused if its server closes it within a second, for another reason than its own end. Few subscribers
    are connected at a time, so that a task is only full if it does not make room.
    """
    connections = evidence.connections
    opened = connections.where(connections["opened_ns"] > 0)
    opened = opened.where(np.argsort(opened["opened_ns"], kind="stable"))
    lasted_ns = opened["closed_ns"] - opened["opened_ns"]
    refused = ~np.isin(opened["close_code"], OTHER_CODES) & (lasted_ns < REFUSED_NS_MAX)
    bad = opened.where(np.flatnonzero(refused & _in_bad_stretch(refused)))

    def example() -> str:
        row = evidence.first_row("connections", bad)
        at = f"{row['symbol']}, {(row['closed_ns'] - row['opened_ns']) / 1e6:.0f} ms after it was opened"
        return f"stream {row['connection']} of {row['subscriber']} was closed ({row['close_code']}) by its task, {at}"

    return by_row(
        evidence,
        examined=len(opened),
        violations=len(bad),
        example=example,
        subject=lambda: Subject(steps=tuple(_told(evidence, bad))),
    )


def _in_bad_stretch(refused: np.ndarray) -> np.ndarray:
    """Find the streams that belong to a stretch in which too many were refused."""
    found = np.zeros(len(refused), dtype=bool)
    if len(refused) < STRETCH:
        return found
    sums = np.convolve(refused.astype(np.int64), np.ones(STRETCH, dtype=np.int64), "valid")
    for start in np.flatnonzero(sums > SHARE_MAX * STRETCH).tolist():
        found[start : start + STRETCH] = True
    return found


def _told(evidence: Evidence, bad: Rows) -> Iterator[Step]:
    for row in evidence.rows("connections", bad["index"][:SHOWN_MAX]):
        what = f"{row['subscriber']} is sent away by its task ({row['close_code']} {row['error']})"
        yield {"t": row["closed_ns"] / NS_PER_S, "what": what, "source": "stream"}
