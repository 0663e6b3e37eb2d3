"""The ledger's own numbering: per market 1…n, each once."""

from __future__ import annotations

from kit.integrity.answer import Check, Wording, by_row
from kit.integrity.counterexample import Story
from kit.integrity.evidence import Evidence, Table
from kit.model import Finding

# Events shown on each side of a gap.
AROUND = 3

GAP_FREE = Wording(
    name="gap-free-sequence",
    noun="ledger events",
    hold="carry the next number of their market",
    broke="do not carry the next number of their market",
)


def gap_free_sequence(evidence: Evidence) -> Finding:
    """S1. Per market, seq sorted = 1, 2, …, n. A violation is an event whose predecessor's seq is not its own − 1."""
    events = evidence.events
    before = events.groupby("market")["seq"].shift(1, fill_value=0)
    bad = events[events["seq"] != before + 1]

    def example() -> str:
        market, seq, previous = bad["market"].iloc[0], int(bad["seq"].iloc[0]), int(before[bad.index[0]])
        if seq == previous:
            return f"{market} seq {seq} exists twice"
        return f"{market} goes from seq {previous} to {seq}"

    return by_row(
        GAP_FREE,
        evidence,
        examined=len(events),
        violations=len(bad),
        example=example,
        subject=lambda: Story(stretch=stretch(bad)),
    )


def stretch(rows: Table) -> tuple[str, int, int]:
    """The ledger around the first of `rows`."""
    seq = int(rows["seq"].iloc[0])
    return str(rows["market"].iloc[0]), seq - AROUND, seq + AROUND


CHECKS = (Check(name=GAP_FREE.name, find=gap_free_sequence, needs=("events",)),)
