"""The sequenced commands run again through a book of our own: only that finds wrong priority and fills that should have
happened.

Owns the comparison and the words; the rules of trading are `book`'s, and which markets need no replay says `fronts`.
Events go through in blocks, so that memory holds the book and not the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.ledger_tables import ACCEPTED, CANCELLED, CLIENT, FILL, REASONS, REFUSED, REJECTED
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Subject, event_words
from kit.integrity.findings.minimise import smallest
from kit.integrity.matching.priority_proof import proven
from kit.integrity.matching.reference_book import Book, Outcome
from kit.model import NS_PER_S

CHECKS = Checks()

BLOCK_EVENTS = 1 << 16
# Orders at the front of either side of the book among which the fewest that show a divergence are sought.
FRONT_MAX = 16
# Orders told of a divergence that no few of them show alone.
NAMED_MAX = 4


# One event as the loop wants it: the outcome that it tells, its client, its order's bits.
Row = tuple[Outcome, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first event of a market that the model did not expect (`place` in its events), or misses at its end."""

    index: int
    expected: Outcome | None
    book: Book


def replay(rows: Iterable[Row], orders: int) -> Divergence | None:
    """Run the model over one market's events in sequence; the first event that it did not expect, if any."""
    # What is still expected, the next one last: to pop it is the quickest way through a list.
    book, expected, index = Book(orders), [], -1
    for index, (outcome, client, bits) in enumerate(rows):
        if not expected:
            kind, order, reason, price, qty = outcome
            if kind <= REJECTED:  # an order, let in or not
                expected = book.order(order, client, bits, qty, price)
            elif kind == CANCELLED and reason == CLIENT:
                expected = book.cancel(order)
            elif kind == REFUSED:
                expected = book.refuse(order, client)
            else:
                expected = []  # no command starts with a fill, nor with a cancel that no client asked for
            if not expected:
                return Divergence(index=index, expected=None, book=book)
            expected.reverse()
        wanted = expected.pop()
        if outcome != wanted:
            return Divergence(index=index, expected=wanted, book=book)
    return Divergence(index=index + 1, expected=expected[-1], book=book) if expected else None


def rows_of(evidence: Evidence, indices: np.ndarray | slice) -> Iterator[Row]:
    """These events of the ledger. They are chained in C: a generator would be resumed for every one of them."""
    return chain.from_iterable(_blocks(evidence, indices))


def _columns(evidence: Evidence, indices: np.ndarray | slice) -> dict[str, np.ndarray]:
    names = ("type", "order", "maker", "reason", "price", "qty", "client", "bits")
    return {name: evidence.events[name][indices] for name in names}


def _blocks(evidence: Evidence, indices: np.ndarray | slice) -> Iterator[Iterator[Row]]:
    columns = _columns(evidence, indices)
    for start in range(0, len(columns["type"]), BLOCK_EVENTS):
        block = {name: column[start : start + BLOCK_EVENTS] for name, column in columns.items()}
        kind = block["type"]
        second = np.where(kind == FILL, block["maker"], np.where(kind == ACCEPTED, 0, block["reason"]))
        third = np.where((kind == CANCELLED) | (kind == REFUSED), 0, block["price"])
        fourth = np.where(kind == REFUSED, 0, block["qty"])
        told = (kind, block["order"], second, third, fourth)
        outcomes = zip(*(part.tolist() for part in told), strict=True)
        yield zip(outcomes, block["client"].tolist(), block["bits"].tolist(), strict=True)


@CHECKS.add(
    "price-time-replay",
    noun="markets",
    hold="traded exactly as a replay of their sequenced commands",
    broke="traded differently from a replay of their sequenced commands",
    needs=("events",),
)
def price_time_replay(evidence: Evidence) -> Result:
    """R1. Per market, the fills and cancels of each command equal the model's, in order; the first divergence stops
    the replay of its market. `measured` is the number of markets that diverge.
    """
    markets = evidence.market_ranges.by_market
    found = {market: _diverges(evidence, slice(*indices)) for market, indices in markets.items()}
    bad = [(market, divergence) for market, divergence in found.items() if divergence is not None]

    def example() -> str:
        return _words(evidence, *bad[0])

    def subject() -> Subject:
        return _told(evidence, *bad[0])

    return by_row(evidence, examined=len(markets), violations=len(bad), example=example, subject=subject)


def _diverges(evidence: Evidence, indices: slice) -> Divergence | None:
    """The replay tells where; most markets are shown to need none, in a sixth of its time."""
    if proven(_columns(evidence, indices), evidence.order_count):
        return None
    return replay(rows_of(evidence, indices), evidence.order_count)


def _words(evidence: Evidence, market: int, divergence: Divergence) -> str:
    first, last = evidence.market_ranges.by_market[market]
    wanted, name = _wanted(evidence, divergence.expected), evidence.markets[market]
    if first + divergence.index >= last:
        return f"{name} ends after seq {evidence.events['seq'][last - 1]}, but then {wanted} must follow"
    row = evidence.rows("events", [first + divergence.index])[0]
    return f"at {name} seq {row['seq']} {wanted} must follow, but it says: {event_words(row)}"


def _wanted(evidence: Evidence, expected: Outcome | None) -> str:
    if expected is None:
        return "a new command"
    kind, first, second, price, qty = expected
    order = evidence.order_id(first)
    if kind == FILL:
        return f"a trade of order {order} with order {evidence.order_id(second)}, {qty} at {price},"
    if kind == CANCELLED:
        return f"the cancel of {qty} lots of order {order} ({REASONS[second]})"
    if kind == ACCEPTED:
        return f"order {order} accepted"
    what = "the refusal of a cancel" if kind == REFUSED else "the rejection"
    return f"{what} of order {order} ({REASONS[second]})"


def _told(evidence: Evidence, market: int, divergence: Divergence) -> Subject:
    """The fewest orders that diverge in the same way when they are alone in the book."""
    first, last = evidence.market_ranges.by_market[market]
    index = min(first + divergence.index, last - 1)
    seq, ts_ns = int(evidence.events["seq"][index]), int(evidence.events["ts_ns"][index])
    named = _named(evidence, market, divergence)
    suspects = list(dict.fromkeys([*named, *divergence.book.best_orders(FRONT_MAX)]))
    reduction = Reduction.of(evidence, market, divergence, suspects)
    if reduction.diverges(named):
        fewest = smallest(named, reduction.diverges)
    elif reduction.diverges(suspects):
        fewest = smallest(suspects, reduction.diverges)
    else:
        return Subject(orders=tuple(named[:NAMED_MAX]), stretch=(market, seq - NAMED_MAX, seq))
    what = f"replayed with these {len(fewest)} orders alone: {_wanted(evidence, divergence.expected)} must follow"
    step = {"t": ts_ns / NS_PER_S if ts_ns else None, "what": what, "source": "replay", "seq": seq}
    return Subject(orders=tuple(fewest), only=reduction.indices(fewest), steps=(step,))


def _named(evidence: Evidence, market: int, divergence: Divergence) -> list[int]:
    """The orders that the unexpected event and the expected one name."""
    first, last = evidence.market_ranges.by_market[market]
    index = min(first + divergence.index, last - 1)
    named = [int(evidence.events[name][index]) for name in ("order", "maker")]
    if divergence.expected is not None:
        named.append(divergence.expected[1])
        if divergence.expected[0] == FILL:
            named.append(divergence.expected[2])
    return [number for number in dict.fromkeys(named) if number >= 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """A market's history up to a divergence, to be cut down to a few of its orders.

    Taking an order away takes away its trades, and their lots from the other party's quantity. What is left of a
    correct history is a correct history of the orders that stay, so a divergence in it is one of theirs; it counts
    only if it is the very one that was found.
    """

    rows: tuple[tuple[int, Row], ...]  # (place, row) that concern any suspect
    expected: Outcome | None
    end: int  # place of the event that was not expected

    @classmethod
    def of(cls, evidence: Evidence, market: int, divergence: Divergence, suspects: list[int]) -> Reduction:
        first, last = evidence.market_ranges.by_market[market]
        end = first + divergence.index
        events, upto = evidence.events, min(end + 1, last)
        concerned = np.isin(events["order"][first:upto], suspects) | np.isin(events["maker"][first:upto], suspects)
        indices = np.flatnonzero(concerned) + first
        rows = tuple(zip(indices.tolist(), rows_of(evidence, indices), strict=True))
        return cls(rows=rows, expected=divergence.expected, end=end)

    def diverges(self, orders: Iterable[int]) -> bool:
        """Whether these orders alone lead to the same divergence."""
        kept, indices = self._cut(set(orders))
        numbers = {order: number for number, order in enumerate(sorted(set(orders)))}
        found = replay([_renumbered(row, numbers) for row in kept], len(numbers))
        if found is None:
            return False
        at = indices[found.index] if found.index < len(indices) else self.end
        back = {number: order for order, number in numbers.items()}
        expected = None if found.expected is None else _outcome(found.expected, back)
        return at == self.end and expected == self.expected

    def indices(self, orders: Iterable[int]) -> np.ndarray:
        return np.array(self._cut(set(orders))[1], dtype=np.int64)

    def _cut(self, orders: set[int]) -> tuple[list[Row], list[int]]:
        gone = self._gone(orders)
        kept, indices = [], []
        for index, (outcome, client, bits) in self.rows:
            kind, order, second, price, qty = outcome
            if order not in orders or (kind == FILL and second not in orders):
                continue
            if kind == ACCEPTED:
                qty -= gone.get(order, 0)
                if qty <= 0:
                    continue
            elif kind in (REFUSED, REJECTED) and index != self.end:
                continue
            kept.append(((kind, order, second, price, qty), client, bits))
            indices.append(index)
        return kept, indices

    def _gone(self, orders: set[int]) -> dict[int, int]:
        """Lots that each of the orders traded with others before the divergence."""
        gone: dict[int, int] = {}
        for index, (outcome, _, _) in self.rows:
            if outcome[0] == FILL and index < self.end:
                for mine, other in ((outcome[1], outcome[2]), (outcome[2], outcome[1])):
                    if mine in orders and other not in orders:
                        gone[mine] = gone.get(mine, 0) + outcome[4]
        return gone


def _renumbered(row: Row, numbers: dict[int, int]) -> Row:
    outcome, client, bits = row
    return _outcome(outcome, numbers), client, bits


def _outcome(outcome: Outcome, numbers: dict[int, int]) -> Outcome:
    kind, order, second, price, qty = outcome
    return kind, numbers.get(order, -1), numbers.get(second, -1) if kind == FILL else second, price, qty
