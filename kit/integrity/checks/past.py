"""Check that the ledger still has its past: every event that was there before the load, unchanged."""

from __future__ import annotations

import numpy as np

from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.expected_messages import expected_field_hashes
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Subject, event_words
from kit.model import LEDGER_EVENT_COLUMNS, NS_PER_S

CHECKS = Checks()

AROUND = 2


@CHECKS.add(
    "past-unchanged",
    noun="ledger events of the past",
    hold="are as they were before the load",
    broke="are lost or altered",
    needs=("past", "events"),
)
def past_unchanged(evidence: Evidence) -> Result:
    """Check that each event that the ledger had before the load is still there at its (market, seq), in all fields."""
    past, events = evidence.past, evidence.events
    at = evidence.market_ranges.find(events, past["market"], past["seq"])
    there = np.flatnonzero(at >= 0)
    same = np.zeros(len(past), dtype=bool)
    same[there] = expected_field_hashes(evidence.recorded["events"], events["row"][at[there]]) == past["fields"][there]
    bad = np.flatnonzero(~same)

    def example() -> str:
        row = evidence.row("past", bad[0])
        name = f"{row['market']} seq {row['seq']}, {event_words(row)},"
        if at[bad[0]] < 0:
            return f"{name} is not in the ledger any more"
        now = evidence.row("events", at[bad[0]])
        fields = [field for field in LEDGER_EVENT_COLUMNS if now[field] != row[field]]
        return f"{name} has {', '.join(f'{field} {now[field]!r}, not {row[field]!r}' for field in fields)}"

    def subject() -> Subject:
        row, market = evidence.row("past", bad[0]), int(past["market"][bad[0]])
        what = f"before the load the ledger has {row['market']} seq {row['seq']}: {event_words(row)}"
        step = {"t": row["ts_ns"] / NS_PER_S, "what": what, "source": "ledger", "seq": row["seq"]}
        return Subject(stretch=(market, row["seq"] - AROUND, row["seq"] + AROUND), steps=(step,))

    return by_row(evidence, examined=len(past), violations=len(bad), example=example, subject=subject)
