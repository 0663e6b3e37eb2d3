"""Check the books that clients read against the ledger: the price levels at their seq, and no outdated seq.

What rested at a seq is the sum of the ledger's events, price by price. `price-time-replay` checks the ledger itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kit.integrity.evidence.book_tables import NO_BOOK, Level
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.observed_progress import ObservedProgress, streamed_events
from kit.integrity.evidence.orders_and_fills import accepted_orders
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Step, Subject
from kit.integrity.matching.book_depth import Levels, books_at, changes, last_indices
from kit.model import NS_PER_S

CHECKS = Checks()

AROUND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The price levels that the books show and should show. `judged` marks the reads that can be compared."""

    judged: np.ndarray
    shown: Levels
    expected: Levels

    def wrong(self) -> np.ndarray:
        """Return the indices of the reads whose levels differ from the expected ones."""
        size = len(self.judged)
        lengths = [np.bincount(levels.read, minlength=size) for levels in (self.shown, self.expected)]
        same = lengths[0] == lengths[1]
        shown, expected = (levels.where(same[levels.read]) for levels in (self.shown, self.expected))
        bad = self.judged & ~same
        bad[shown.read[np.logical_or.reduce([a != b for a, b in zip(shown, expected, strict=True)])]] = True
        return np.flatnonzero(bad)

    def difference(self, read: int) -> str:
        """Describe the first wrong level of this read's book."""
        shown, expected = (_sides(levels.where(levels.read == read)) for levels in (self.shown, self.expected))
        for name, found, wanted in zip(("bids", "asks"), shown, expected, strict=True):
            for index in range(max(len(found), len(wanted))):
                pair = [side[index] if index < len(side) else None for side in (found, wanted)]
                if pair[0] != pair[1]:
                    return f"{_words(pair[0])} as level {index + 1} of its {name}, expected {_words(pair[1])}"
        return "no difference"


def _sides(levels: Levels) -> list[list[Level]]:
    rows = list(zip(*(column.tolist() for column in levels[1:]), strict=True))
    return [[(price, lots, orders) for buys, price, lots, orders in rows if buys == side] for side in (1, 0)]


def _words(level: Level | None) -> str:
    if level is None:
        return "nothing"
    return f"{level[1]} lots" + (f" of {level[2]} orders" if level[2] else "") + f" at {level[0]}"


@CHECKS.add(
    "book-equals-ledger",
    noun="books read",
    hold="show what rested at their seq of the ledger",
    broke="differ from what rested at their seq of the ledger",
    needs=("attempts", "events", "run"),
)
def book_equals_ledger(evidence: Evidence) -> Result:
    """Check that each book that a GET returned at seq s follows from the ledger's events 1 … s.

    The best levels (price, Σ remaining lots, number of orders), as many as were requested, are compared, and s must be
    a seq of that ledger. A seq in the middle of a command is skipped: the command's events are committed together, but
    read page by page. The number of orders is not compared in a market that accepted an order twice. `measured` counts
    wrong books.
    """
    books = evidence.book_reads
    compared = _compare(evidence)
    invalid = _invalid(evidence)
    bad = np.union1d(np.flatnonzero(invalid), compared.wrong())

    def example() -> str:
        row = evidence.row("book_reads", bad[0])
        seq, who = int(books["seq"][bad[0]]), f"the book of {row['symbol']} that client {row['client_id']} read"
        if invalid[bad[0]]:
            return (
                f"{who} is not a book" if seq == NO_BOOK else f"{who} is at seq {seq}, which its ledger does not have"
            )
        return f"{who} at seq {seq} shows {compared.difference(int(bad[0]))}"

    return by_row(
        evidence,
        examined=int((compared.judged | invalid).sum()),
        violations=len(bad),
        example=example,
        subject=lambda: _subject(evidence, int(bad[0])),
    )


def _invalid(evidence: Evidence) -> np.ndarray:
    """Return which reads are not a book, or are at a seq that the ledger does not have."""
    books = evidence.book_reads
    there = evidence.market_ranges.find(evidence.events, books["market"], books["seq"]) >= 0
    return (books["seq"] != 0) & ~there


def _compare(evidence: Evidence) -> Comparison:
    books, orders = evidence.book_reads, accepted_orders(evidence)
    shown = Levels(*(evidence.book_levels[name].astype(np.int64) for name in Levels._fields))
    depth, gone = _depth(evidence, shown), last_indices(evidence, orders)
    judged, counted, parts = np.zeros(len(books), dtype=bool), np.zeros(len(books), dtype=bool), []
    for market, (first, last) in evidence.market_ranges.by_market.items():
        mine, event_count = _judged(evidence, market)
        if len(mine):
            judged[mine], counted[mine] = True, orders.once[orders.market == market].all()
            found = books_at(changes(evidence, orders, gone, first, last), event_count, depth[mine])
            parts.append(found._replace(read=mine[found.read]))
    expected = Levels.joined(parts) if parts else shown.where(np.zeros(len(shown.read), dtype=bool))
    expected = expected.where(np.argsort(expected.read, kind="stable"))
    both = (shown.where(judged[shown.read]), expected)
    both = [levels._replace(orders=np.where(counted[levels.read], levels.orders, 0)) for levels in both]
    return Comparison(judged=judged, shown=both[0], expected=both[1])


def _depth(evidence: Evidence, shown: Levels) -> np.ndarray:
    """Return how many levels a side each book must show: as many as were requested.

    Where that was not recorded, as many as the deepest book shows. A book that shows more levels is compared in all of
    them.
    """
    books = evidence.book_reads
    sides = np.bincount(shown.read * 2 + shown.buys, minlength=2 * len(books)).reshape(-1, 2).max(axis=1, initial=0)
    return np.maximum(np.where(books["asked"] > 0, books["asked"], sides.max(initial=0)), sides)


def _judged(evidence: Evidence, market: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the reads of a market's book that can be compared, sorted by seq, and how many events precede each.

    A read at the middle of a command cannot be compared. The counts are of the market's events up to the read's seq.
    """
    books, events = evidence.book_reads, evidence.events
    first, last = evidence.market_ranges.by_market[market]
    mine = np.flatnonzero((books["market"] == market) & (books["seq"] >= 0))
    mine = mine[np.argsort(books["seq"][mine], kind="stable")]
    seq = books["seq"][mine]
    index = evidence.market_ranges.find(events, np.full(len(seq), market), seq)
    # 0 for a book that was read before the market's first event.
    event_count = np.where(index >= 0, index + 1 - first, 0)
    event = events["event"][first:last]
    complete = (event_count == 0) | (event_count == len(event))
    complete |= event[np.minimum(event_count, len(event) - 1)] != event[np.maximum(event_count, 1) - 1]
    complete &= (index >= 0) | (seq == 0)
    return mine[complete], event_count[complete]


@CHECKS.add(
    "monotone-books",
    noun="books read",
    hold="show all that was known before they were requested",
    broke="are behind what was known before they were requested",
    needs=("attempts", "stream", "events", "run"),
    timed=True,
)
def monotone_books(evidence: Evidence) -> Result:
    """Check that no book is older than what was known of its market before the GET was sent.

    For a book at seq s, no subscriber had received an event beyond s by then, and no client had read a book beyond s.
    """
    books = evidence.book_reads.where(evidence.book_reads["seq"] != NO_BOOK)
    read = books["market"], books["seq"], books["completed_ns"]
    known = ObservedProgress(streamed_events(evidence.stream), read).before(books["market"], books["invoked_ns"])
    bad = np.flatnonzero(books["seq"] < known)

    def example() -> str:
        row = evidence.row("book_reads", books["index"][bad[0]])
        who = f"the book of {row['symbol']} that client {row['client_id']} read"
        return f"{who} is at seq {books['seq'][bad[0]]}, but seq {known[bad[0]]} was known before it was requested"

    return by_row(
        evidence,
        examined=len(books),
        violations=len(bad),
        example=example,
        subject=lambda: _subject(evidence, int(books["index"][bad[0]])),
    )


def _subject(evidence: Evidence, read: int) -> Subject:
    """Return the read and the part of the ledger around its seq."""
    row, seq = evidence.row("book_reads", read), int(evidence.book_reads["seq"][read])
    base = {"source": "client", "client_id": row["client_id"]}
    asked = f"client {row['client_id']} reads the book of {row['symbol']}"
    steps: tuple[Step, ...] = (
        base | {"t": row["invoked_ns"] / NS_PER_S, "what": asked},
        base | {"t": row["completed_ns"] / NS_PER_S, "what": f"answer {row['status']}: {row['reply']}"},
    )
    return Subject(stretch=(int(evidence.book_reads["market"][read]), seq - AROUND, seq + AROUND), steps=steps)
