"""The books that clients read against the ledger: what rested at that place of it, and no place that was over.

`price-time-replay` holds the ledger against the rules; this holds the book that is shown against the ledger. Owns the
invariants; what rests is worked out by adding up the ledger's events, price by price.
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
class Shown:
    """The books that can be judged, by their place: what they told, and what they should have."""

    judged: np.ndarray
    told: Levels
    wanted: Levels

    def wrong(self) -> np.ndarray:
        """Places of the books that told anything else."""
        size = len(self.judged)
        lengths = [np.bincount(one.read, minlength=size) for one in (self.told, self.wanted)]
        same = lengths[0] == lengths[1]
        told, wanted = (one.where(same[one.read]) for one in (self.told, self.wanted))
        bad = self.judged & ~same
        bad[told.read[np.logical_or.reduce([a != b for a, b in zip(told, wanted, strict=True)])]] = True
        return np.flatnonzero(bad)

    def difference(self, read: int) -> str:
        """The first level of this book that is not as it should be."""
        told, wanted = (_sides(one.where(one.read == read)) for one in (self.told, self.wanted))
        for name, said, right in zip(("bids", "asks"), told, wanted, strict=True):
            for index in range(max(len(said), len(right))):
                pair = [side[index] if index < len(side) else None for side in (said, right)]
                if pair[0] != pair[1]:
                    return f"as number {index + 1} of its {name} {_words(pair[0])} and not {_words(pair[1])}"
        return "nothing wrong"


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
    hold="show what rested at their place of the ledger",
    broke="show something else than what rested at their place of the ledger",
    needs=("attempts", "events", "run"),
)
def book_equals_ledger(evidence: Evidence) -> Result:
    """For each answered GET of a book at seq s: its best levels (price, Σ lots left, number of orders), as many as were
    asked for, are those of the ledger's events 1 … s; and s is a seq of that ledger.

    A place in the middle of a command is passed over: its events commit together, but are read page by page. Orders
    are not counted in a market that accepted one twice. `measured` counts wrong books.
    """
    books = evidence.book_reads
    shown = _shown(evidence)
    strange = _strange(evidence)
    bad = np.union1d(np.flatnonzero(strange), shown.wrong())

    def example() -> str:
        row = evidence.rows("book_reads", bad[:1])[0]
        seq, who = int(books["seq"][bad[0]]), f"the book of {row['symbol']} that client {row['client_id']} read"
        if strange[bad[0]]:
            return f"{who} is none" if seq == NO_BOOK else f"{who} is at seq {seq}, which its ledger does not have"
        return f"{who} at seq {seq} shows {shown.difference(int(bad[0]))}"

    return by_row(
        evidence,
        examined=int((shown.judged | strange).sum()),
        violations=len(bad),
        example=example,
        subject=lambda: _told(evidence, int(bad[0])),
    )


def _strange(evidence: Evidence) -> np.ndarray:
    """Which reads are no book, or of a place that the ledger does not have."""
    books = evidence.book_reads
    there = evidence.market_ranges.find(evidence.events, books["market"], books["seq"]) >= 0
    return (books["seq"] != 0) & ~there


def _shown(evidence: Evidence) -> Shown:
    books, orders = evidence.book_reads, accepted_orders(evidence)
    told = Levels(*(evidence.book_levels[name].astype(np.int64) for name in Levels._fields))
    depth, gone = _depth(evidence, told), last_indices(evidence, orders)
    judged, counted, parts = np.zeros(len(books), dtype=bool), np.zeros(len(books), dtype=bool), []
    for market, (first, last) in evidence.market_ranges.by_market.items():
        mine, upto = _judged(evidence, market)
        if len(mine):
            judged[mine], counted[mine] = True, orders.once[orders.market == market].all()
            found = books_at(changes(evidence, orders, gone, first, last), upto, depth[mine])
            parts.append(found._replace(read=mine[found.read]))
    wanted = Levels.joined(parts) if parts else told.where(np.zeros(len(told.read), dtype=bool))
    wanted = wanted.where(np.argsort(wanted.read, kind="stable"))
    both = (told.where(judged[told.read]), wanted)
    both = [one._replace(orders=np.where(counted[one.read], one.orders, 0)) for one in both]
    return Shown(judged=judged, told=both[0], wanted=both[1])


def _depth(evidence: Evidence, told: Levels) -> np.ndarray:
    """How many levels a side each book must show: as many as were asked for, where that was not recorded as many as any
    book shows. One that shows more is held to what it shows.
    """
    books = evidence.book_reads
    sides = np.bincount(told.read * 2 + told.buys, minlength=2 * len(books)).reshape(-1, 2).max(axis=1, initial=0)
    return np.maximum(np.where(books["asked"] > 0, books["asked"], sides.max(initial=0)), sides)


def _judged(evidence: Evidence, market: int) -> tuple[np.ndarray, np.ndarray]:
    """The books of a market that were not read in the middle of a command, in the order of the ledger; and how many of
    the market's events each of them holds.
    """
    books, events = evidence.book_reads, evidence.events
    first, last = evidence.market_ranges.by_market[market]
    mine = np.flatnonzero((books["market"] == market) & (books["seq"] >= 0))
    mine = mine[np.argsort(books["seq"][mine], kind="stable")]
    seq = books["seq"][mine]
    index = evidence.market_ranges.find(events, np.full(len(seq), market), seq)
    # How many of the market's events each book holds; none if it was read before there was any.
    upto = np.where(index >= 0, index + 1 - first, 0)
    event = events["event"][first:last]
    whole = (upto == 0) | (upto == len(event))
    whole |= event[np.minimum(upto, len(event) - 1)] != event[np.maximum(upto, 1) - 1]
    whole &= (index >= 0) | (seq == 0)
    return mine[whole], upto[whole]


@CHECKS.add(
    "monotone-books",
    noun="books read",
    hold="are as far as anything that was known before they were asked for",
    broke="are behind what was known before they were asked for",
    needs=("attempts", "stream", "events", "run"),
    timed=True,
)
def monotone_books(evidence: Evidence) -> Result:
    """For each answered GET of a book at seq s: no subscriber had received an event of its market beyond s, and no
    client had read a book beyond s, before it was asked for.
    """
    books = evidence.book_reads.where(evidence.book_reads["seq"] != NO_BOOK)
    read = books["market"], books["seq"], books["completed_ns"]
    known = ObservedProgress(streamed_events(evidence.stream), read).before(books["market"], books["invoked_ns"])
    bad = np.flatnonzero(books["seq"] < known)

    def example() -> str:
        row = evidence.rows("book_reads", books["index"][bad[:1]])[0]
        who = f"the book of {row['symbol']} that client {row['client_id']} read"
        return f"{who} is at seq {books['seq'][bad[0]]}, though seq {known[bad[0]]} was known before it was asked for"

    return by_row(
        evidence,
        examined=len(books),
        violations=len(bad),
        example=example,
        subject=lambda: _told(evidence, int(books["index"][bad[0]])),
    )


def _told(evidence: Evidence, read: int) -> Subject:
    """The read and the ledger around its place."""
    row, seq = evidence.rows("book_reads", [read])[0], int(evidence.book_reads["seq"][read])
    base = {"source": "client", "client_id": row["client_id"]}
    steps: tuple[Step, ...] = (
        base
        | {"t": row["invoked_ns"] / NS_PER_S, "what": f"client {row['client_id']} reads the book of {row['symbol']}"},
        base | {"t": row["completed_ns"] / NS_PER_S, "what": f"answer {row['status']}: {row['reply']}"},
    )
    return Subject(stretch=(int(evidence.book_reads["market"][read]), seq - AROUND, seq + AROUND), steps=steps)
