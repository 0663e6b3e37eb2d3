"""Check the marks of applied events: each event has one, and it outlives every message that could bring it again."""

from __future__ import annotations

import numpy as np

from kit.integrity.evidence.evidence import Evidence
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Subject
from kit.model import NS_PER_S

CHECKS = Checks()

DAY_S = 86_400
# A queue keeps a message for 14 days at most, and a message keeps its age in the dead-letter queue. A mark that lasts
# for much longer is a unit that was confused: the table would grow for ever.
KEPT_S, KEPT_S_MAX = 14 * DAY_S, 90 * DAY_S


@CHECKS.add(
    "applied-events-marked",
    noun="ledger events",
    hold="have a mark that outlives every queue",
    broke="have no mark, or one that expires too early or too late",
    needs=("attempts", "events", "marks"),
)
def applied_events_marked(evidence: Evidence) -> Result:
    """Check that the intake event of each ledger event is marked as applied, and for how long.

    KEPT_S ≤ time of expiry − time of the ledger event ≤ KEPT_S_MAX, for the events since the load began.
    """
    marks, began_ns = evidence.marks, int(evidence.attempts["invoked_ns"].min())
    events = evidence.events.where(evidence.events["ts_ns"] >= began_ns)
    by_event = np.argsort(marks["event"], kind="stable")
    known, expires_s = marks["event"][by_event], marks["expires_s"][by_event]
    at = np.minimum(np.searchsorted(known, events["event"]), len(known) - 1)
    is_marked = known[at] == events["event"]
    left_s = expires_s[at] - events["ts_ns"] // NS_PER_S
    bad = np.flatnonzero(~is_marked | (left_s < KEPT_S) | (left_s > KEPT_S_MAX))

    def example() -> str:
        row = evidence.row("events", events["index"][bad[0]])
        name = f"event {row['event_id']} at {row['market']} seq {row['seq']}"
        if not is_marked[bad[0]]:
            return f"{name} is not marked as applied"
        if not expires_s[at[bad[0]]]:
            return f"the mark of {name} has no time of expiry"
        return (
            f"the mark of {name} expires after {left_s[bad[0]] / DAY_S:.2f} days, expected {KEPT_S // DAY_S} to "
            f"{KEPT_S_MAX // DAY_S}"
        )

    return by_row(
        evidence,
        examined=len(events),
        violations=len(bad),
        example=example,
        subject=lambda: Subject(only=events["index"][bad[:1]]),
    )
