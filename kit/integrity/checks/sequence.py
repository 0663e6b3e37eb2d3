"""Check the ledger's sequence numbers: 1 … n in each market, each once."""

from __future__ import annotations

import numpy as np

from kit import ledger_rules
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Subject

CHECKS = Checks()

# Events shown on either side of a gap.
AROUND = 3


RULE = ledger_rules.GAP_FREE_SEQUENCE


@CHECKS.add(
    RULE.name,
    noun=RULE.noun,
    hold=RULE.hold,
    broke=RULE.broke,
    needs=("events",),
)
def gap_free_sequence(evidence: Evidence) -> Result:
    """S1. Check that the sorted seqs of each market are 1, 2, …, n.

    A violation is an event whose seq is not the last one + 1.
    """
    events = evidence.events
    market, seq = events["market"], events["seq"].astype(np.int64)
    before = np.concatenate([[0], seq[:-1]])
    before[np.flatnonzero(np.diff(market)) + 1] = 0
    bad = np.flatnonzero(ledger_rules.out_of_sequence(seq, before))

    def example() -> str:
        name, number, previous = evidence.markets[int(market[bad[0]])], int(seq[bad[0]]), int(before[bad[0]])
        if number == previous:
            return f"{name} seq {number} exists twice"
        return f"{name} goes from seq {previous} to {number}"

    return by_row(
        evidence,
        examined=len(events),
        violations=len(bad),
        example=example,
        subject=lambda: Subject(only=_around(market, int(bad[0]))),
    )


def _around(market: np.ndarray, index: int) -> np.ndarray:
    """Return the indices of the events next to this one in its market, whatever their seqs are."""
    near = np.arange(max(0, index - AROUND), min(len(market), index + AROUND + 1))
    return near[market[near] == market[index]]


def stretch(evidence: Evidence, index: int) -> tuple[int, int, int]:
    """Return the part of the ledger around the event at this index: market, first and last seq."""
    seq = int(evidence.events["seq"][index])
    return int(evidence.events["market"][index]), seq - AROUND, seq + AROUND
