"""Check price-time priority: replay the sequenced commands through the reference book and compare every outcome.

Only a replay finds wrong priority and fills that should have happened. Events are read in blocks, so that memory holds
the book and not the history. `priority_proof` spares most markets the replay.
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
# A smallest counterexample is searched among the best orders on either side of the book.
BEST_ORDERS_MAX = 16
# Orders in a counterexample that could not be reduced.
NAMED_MAX = 4


# One event for the replay loop: its outcome, its client, the bits of its order.
Row = tuple[Outcome, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first event of a market that the book did not expect, by its index, or an event missing at the end."""

    index: int
    expected: Outcome | None
    book: Book


def replay(rows: Iterable[Row], orders: int) -> Divergence | None:
    """Run the book over one market's events in sequence. Returns the first event that it did not expect, or None."""
    # Outcomes still expected, the next one last, because popping the last is the fastest way through a list.
    book, expected, index = Book(orders), [], -1
    for index, (outcome, client, bits) in enumerate(rows):
        if not expected:
            kind, order, reason, price, qty = outcome
            if kind <= REJECTED:  # an order, accepted or rejected
                expected = book.order(order, client, bits, qty, price)
            elif kind == CANCELLED and reason == CLIENT:
                expected = book.cancel(order)
            elif kind == REFUSED:
                expected = book.refuse(order, client)
            else:
                expected = []  # no command starts with a fill, or with a cancel that no client sent
            if not expected:
                return Divergence(index=index, expected=None, book=book)
            expected.reverse()
        wanted = expected.pop()
        if outcome != wanted:
            return Divergence(index=index, expected=wanted, book=book)
    return Divergence(index=index + 1, expected=expected[-1], book=book) if expected else None


def rows_of(evidence: Evidence, indices: np.ndarray | slice) -> Iterator[Row]:
    """Iterate over these events of the ledger.

    itertools chains the blocks in C; a generator would be resumed for each event.
    """
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
        columns_of_outcome = (kind, block["order"], second, third, fourth)
        outcomes = zip(*(part.tolist() for part in columns_of_outcome), strict=True)
        yield zip(outcomes, block["client"].tolist(), block["bits"].tolist(), strict=True)


@CHECKS.add(
    "price-time-replay",
    noun="markets",
    hold="traded exactly as a replay of their sequenced commands",
    broke="traded differently from a replay of their sequenced commands",
    needs=("events",),
)
def price_time_replay(evidence: Evidence) -> Result:
    """R1. Check that the fills and cancels of each command equal those of the reference book, in order.

    The first divergence ends the replay of its market. `measured` is the number of markets that diverge.
    """
    markets = evidence.market_ranges.by_market
    found = {market: _diverges(evidence, slice(*indices)) for market, indices in markets.items()}
    bad = [(market, divergence) for market, divergence in found.items() if divergence is not None]

    def example() -> str:
        return _example(evidence, *bad[0])

    def subject() -> Subject:
        return _subject(evidence, *bad[0])

    return by_row(evidence, examined=len(markets), violations=len(bad), example=example, subject=subject)


def _diverges(evidence: Evidence, indices: slice) -> Divergence | None:
    """Return the divergence of a market, by replay unless the much faster proof shows that there is none."""
    if proven(_columns(evidence, indices), evidence.order_count):
        return None
    return replay(rows_of(evidence, indices), evidence.order_count)


def _example(evidence: Evidence, market: int, divergence: Divergence) -> str:
    first, last = evidence.market_ranges.by_market[market]
    expected, name = _expected_words(evidence, divergence.expected), evidence.markets[market]
    if first + divergence.index >= last:
        return f"{name} ends after seq {evidence.events['seq'][last - 1]}, but then {expected} must follow"
    row = evidence.row("events", first + divergence.index)
    return f"at {name} seq {row['seq']} {expected} must follow, but the ledger says: {event_words(row)}"


def _expected_words(evidence: Evidence, expected: Outcome | None) -> str:
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


def _subject(evidence: Evidence, market: int, divergence: Divergence) -> Subject:
    """Find the fewest orders that diverge in the same way without the other orders of the market."""
    first, last = evidence.market_ranges.by_market[market]
    index = min(first + divergence.index, last - 1)
    seq, ts_ns = int(evidence.events["seq"][index]), int(evidence.events["ts_ns"][index])
    named = _named(evidence, market, divergence)
    suspects = list(dict.fromkeys([*named, *divergence.book.best_orders(BEST_ORDERS_MAX)]))
    reduction = Reduction.of(evidence, market, divergence, suspects)
    if reduction.diverges(named):
        fewest = smallest(named, reduction.diverges)
    elif reduction.diverges(suspects):
        fewest = smallest(suspects, reduction.diverges)
    else:
        return Subject(orders=tuple(named[:NAMED_MAX]), stretch=(market, seq - NAMED_MAX, seq))
    what = f"replay of these {len(fewest)} orders alone: {_expected_words(evidence, divergence.expected)} must follow"
    step = {"t": ts_ns / NS_PER_S if ts_ns else None, "what": what, "source": "replay", "seq": seq}
    return Subject(orders=tuple(fewest), only=reduction.indices(fewest), steps=(step,))


def _named(evidence: Evidence, market: int, divergence: Divergence) -> list[int]:
    """Return the orders that the unexpected event and the expected one name."""
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
    """A market's history up to a divergence, reduced to a few of its orders.

    Removing an order removes its trades, and their lots from the other party's quantity. A correct history stays
    correct for the orders that are left, so a divergence of the reduced history is caused by them. It counts only if
    it is the same divergence.
    """

    rows: tuple[tuple[int, Row], ...]  # (index, row) of all events of the suspects
    expected: Outcome | None
    end: int  # index of the unexpected event

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
        """Return whether these orders alone lead to the same divergence."""
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
        traded = self._traded_with_others(orders)
        kept, indices = [], []
        for index, (outcome, client, bits) in self.rows:
            kind, order, second, price, qty = outcome
            if order not in orders or (kind == FILL and second not in orders):
                continue
            if kind == ACCEPTED:
                qty -= traded.get(order, 0)
                if qty <= 0:
                    continue
            elif kind in (REFUSED, REJECTED) and index != self.end:
                continue
            kept.append(((kind, order, second, price, qty), client, bits))
            indices.append(index)
        return kept, indices

    def _traded_with_others(self, orders: set[int]) -> dict[int, int]:
        """Count the lots that each of the orders traded with others before the divergence."""
        traded: dict[int, int] = {}
        for index, (outcome, _, _) in self.rows:
            if outcome[0] == FILL and index < self.end:
                for mine, other in ((outcome[1], outcome[2]), (outcome[2], outcome[1])):
                    if mine in orders and other not in orders:
                        traded[mine] = traded.get(mine, 0) + outcome[4]
        return traded


def _renumbered(row: Row, numbers: dict[int, int]) -> Row:
    outcome, client, bits = row
    return _outcome(outcome, numbers), client, bits


def _outcome(outcome: Outcome, numbers: dict[int, int]) -> Outcome:
    kind, order, second, price, qty = outcome
    return kind, numbers.get(order, -1), numbers.get(second, -1) if kind == FILL else second, price, qty
