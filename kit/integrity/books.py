"""The books that clients read against the ledger: what rested at that place of it, and no place that was over.

`price-time-replay` holds the ledger against the rules; this holds the book that is shown against the ledger. Owns the
invariants; what rests is worked out by adding up the ledger's events, price by price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kit.integrity.answer import Check, Wording, by_row
from kit.integrity.book_tables import NO_BOOK, Level
from kit.integrity.counterexample import Step, Story
from kit.integrity.evidence import Evidence
from kit.integrity.legs import accepted_orders
from kit.integrity.moments import Moments, streamed
from kit.integrity.resting import Resting, changes
from kit.model import Finding

AROUND = 3

SHOWN = Wording(
    name="book-equals-ledger",
    noun="books read",
    hold="show what rested at their place of the ledger",
    broke="show something else than what rested at their place of the ledger",
)
FRESH = Wording(
    name="monotone-books",
    noun="books read",
    hold="are as far as anything that was known before they were asked for",
    broke="are behind what was known before they were asked for",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One book as it was read and as it should be, best level first; sells at 0, buys at 1."""

    read: int
    told: tuple[list[Level], list[Level]]
    wanted: tuple[list[Level], list[Level]]
    asked: int
    counted: bool

    @property
    def wrong(self) -> bool:
        return any(
            self._seen(told) != self._seen(wanted[: max(self.asked, len(told))])
            for told, wanted in zip(self.told, self.wanted, strict=True)
        )

    def _seen(self, levels: list[Level]) -> list[Level]:
        return levels if self.counted else [(price, lots, 0) for price, lots, _ in levels]


def book_equals_ledger(evidence: Evidence) -> Finding:
    """For each answered GET of a book at seq s: its best levels (price, Σ lots left, number of orders), as many as were
    asked for, are those of the ledger's events 1 … s; and s is a seq of that ledger.

    A place in the middle of a command is passed over: its events commit together, but are read page by page. Orders
    are not counted in a market that accepted one twice. `measured` counts wrong books.
    """
    books = evidence.books
    shown = _shown(evidence)
    strange = _strange(evidence)
    bad = np.union1d(np.flatnonzero(strange), [one.read for one in shown.values() if one.wrong]).astype(np.int64)

    def example() -> str:
        row = evidence.rows("books", bad[:1])[0]
        seq, who = int(books["seq"][bad[0]]), f"the book of {row['symbol']} that client {row['client_id']} read"
        if strange[bad[0]]:
            return f"{who} is none" if seq == NO_BOOK else f"{who} is at seq {seq}, which its ledger does not have"
        return f"{who} at seq {seq} shows {_difference(shown[int(bad[0])])}"

    return by_row(
        SHOWN,
        evidence,
        examined=len(shown) + int(strange.sum()),
        violations=len(bad),
        example=example,
        subject=lambda: _told(evidence, int(bad[0])),
    )


def _strange(evidence: Evidence) -> np.ndarray:
    """Which reads are no book, or of a place that the ledger does not have."""
    books = evidence.books
    there = evidence.slices.places(evidence.events, books["market"], books["seq"]) >= 0
    return (books["seq"] != 0) & ~there


def _shown(evidence: Evidence) -> dict[int, Shown]:
    """The books that can be judged, by their place."""
    books, levels, found = evidence.books, evidence.levels, {}
    told = [levels[name] for name in ("buys", "price", "lots", "orders")]
    begins = np.searchsorted(levels["read"], np.arange(len(books) + 1))
    # Where it was not recorded how many levels were asked for, as many as any answer shows.
    deepest = int(np.bincount(levels["read"] * 2 + levels["buys"]).max(initial=0))
    orders = accepted_orders(evidence)
    for market, (first, last) in evidence.slices.by_market.items():
        mine, upto = _judged(evidence, market)
        if not len(mine):
            continue
        resting = Resting(changes(evidence, orders, first, last))
        counted = bool(orders.once[orders.market == market].all())
        for read, place in zip(mine.tolist(), upto.tolist(), strict=True):
            sides = _sides([column[begins[read] : begins[read + 1]].tolist() for column in told])
            asked = int(books["asked"][read]) or deepest
            wanted = resting.at(place, max(asked, *(len(side) for side in sides)))
            found[read] = Shown(read=read, told=sides, wanted=wanted, asked=asked, counted=counted)
    return found


def _judged(evidence: Evidence, market: int) -> tuple[np.ndarray, np.ndarray]:
    """The books of a market that were not read in the middle of a command, in the order of the ledger; and how many of
    the market's events each of them holds.
    """
    books, events = evidence.books, evidence.events
    first, last = evidence.slices.by_market[market]
    mine = np.flatnonzero((books["market"] == market) & (books["seq"] >= 0))
    mine = mine[np.argsort(books["seq"][mine], kind="stable")]
    seq = books["seq"][mine]
    place = evidence.slices.places(events, np.full(len(seq), market), seq)
    # How many of the market's events each book holds; none if it was read before there was any.
    upto = np.where(place >= 0, place + 1 - first, 0)
    event = events["event"][first:last]
    whole = (upto == 0) | (upto == len(event))
    whole |= event[np.minimum(upto, len(event) - 1)] != event[np.maximum(upto, 1) - 1]
    whole &= (place >= 0) | (seq == 0)
    return mine[whole], upto[whole]


def _sides(columns: list[list[int]]) -> tuple[list[Level], list[Level]]:
    sides: tuple[list[Level], list[Level]] = ([], [])
    for buys, *level in zip(*columns, strict=True):
        sides[buys].append(tuple(level))  # type: ignore[arg-type]
    return sides


def _difference(one: Shown) -> str:
    for name, told, wanted in zip(("asks", "bids"), one.told, one.wanted, strict=True):
        for place in range(max(len(told), len(wanted))):
            said, right = (side[place] if place < len(side) else None for side in (told, wanted))
            if said != right:
                return f"as number {place + 1} of its {name} {_words(said)} and not {_words(right)}"
    return "nothing wrong"


def _words(level: Level | None) -> str:
    return f"{level[1]} lots of {level[2]} orders at {level[0]}" if level else "nothing"


def monotone_books(evidence: Evidence) -> Finding:
    """For each answered GET of a book at seq s: no subscriber had received an event of its market beyond s, and no
    client had read a book beyond s, before it was asked for.
    """
    books = evidence.books.where(evidence.books["seq"] != NO_BOOK)
    read = books["market"], books["seq"], books["completed_ns"]
    known = Moments(streamed(evidence.stream), read).before(books["market"], books["invoked_ns"])
    bad = np.flatnonzero(books["seq"] < known)

    def example() -> str:
        row = evidence.rows("books", books["place"][bad[:1]])[0]
        who = f"the book of {row['symbol']} that client {row['client_id']} read"
        return f"{who} is at seq {books['seq'][bad[0]]}, though seq {known[bad[0]]} was known before it was asked for"

    return by_row(
        FRESH,
        evidence,
        examined=len(books),
        violations=len(bad),
        example=example,
        subject=lambda: _told(evidence, int(books["place"][bad[0]])),
    )


def _told(evidence: Evidence, read: int) -> Story:
    """The read and the ledger around its place."""
    row, seq = evidence.rows("books", [read])[0], int(evidence.books["seq"][read])
    base = {"source": "client", "client_id": row["client_id"]}
    steps: tuple[Step, ...] = (
        base | {"t": row["invoked_ns"] / 1e9, "what": f"client {row['client_id']} reads the book of {row['symbol']}"},
        base | {"t": row["completed_ns"] / 1e9, "what": f"answer {row['status']}: {row['reply']}"},
    )
    return Story(stretch=(int(evidence.books["market"][read]), seq - AROUND, seq + AROUND), steps=steps)


CHECKS = (
    Check(name=SHOWN.name, find=book_equals_ledger, needs=("attempts", "events", "run")),
    Check(name=FRESH.name, find=monotone_books, needs=("attempts", "stream", "events", "run"), timed=True),
)
