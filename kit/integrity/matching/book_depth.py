"""Compute what rests in a market at any point of its ledger, price by price.

These are sums of the ledger's events without any matching, independent of PaperBroker's book and of the reference book.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kit.integrity.arrays.grouping import lasts, totals
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.ledger_tables import ACCEPTED, CANCELLED, FILL
from kit.integrity.evidence.orders_and_fills import AcceptedOrders, filled

# Prices of all books that are computed side by side.
CELLS_MAX = 1 << 19


class Changes(NamedTuple):
    """Changes in sequence: `lots` and `orders` are added to the price level (buys, price) at event `index`."""

    index: np.ndarray
    buys: np.ndarray
    price: np.ndarray
    lots: np.ndarray
    orders: np.ndarray


def changes(evidence: Evidence, orders: AcceptedOrders, completed: np.ndarray, first: int, last: int) -> Changes:
    """List the changes of the book by the events from `first` to `last`, which are of one market.

    An order that may rest is added with all its lots. Each fill removes lots from its maker and from a taker that may
    rest; a cancel removes the rest. An order is removed with its last event if it has no lots left. `completed` is what
    `last_indices` returned.
    """
    names = ("type", "order", "maker", "qty")
    kind, taker, maker, qty = (evidence.events[name][first:last] for name in names)
    parts = [  # (indices, orders, lots, orders added)
        _part(kind == ACCEPTED, taker, qty, 1),
        _part(kind == FILL, taker, -qty, 0),
        _part(kind == FILL, maker, -qty, 0),
        _part(kind == CANCELLED, taker, -qty, 0),
    ]
    index, order, lots, come = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    rests = (order >= 0) & orders.rests[order]
    index, order, lots, come = (column[rests] for column in (index, order, lots, come))
    by_place = np.argsort(index, kind="stable")
    index, order, lots, come = (column[by_place] for column in (index, order, lots, come))
    come = come - (completed[order] == index + first)
    return Changes(index, orders.buys[order].astype(np.int64), orders.price[order].astype(np.int64), lots, come)


def _part(chosen: np.ndarray, order: np.ndarray, lots: np.ndarray, come: int) -> tuple[np.ndarray, ...]:
    indices = np.flatnonzero(chosen)
    return indices, order[indices], lots[indices].astype(np.int64), np.full(len(indices), come, dtype=np.int64)


def last_indices(evidence: Evidence, orders: AcceptedOrders) -> np.ndarray:
    """Return by order number the index of the event that completes the order; −1 if some of it is left."""
    events, cancelled, size = evidence.events, evidence.cancelled, evidence.order_count
    takes = np.flatnonzero((events["type"] == FILL) | (events["type"] == CANCELLED))
    last = np.maximum(*(lasts(events[column][takes], size) for column in ("order", "maker")))
    left = orders.qty.astype(np.int64) - filled(evidence) - totals(cancelled["order"], cancelled["qty"], size)
    return np.where((left == 0) & (last >= 0), np.append(takes, 0)[last], -1)


class Levels(NamedTuple):
    """Price levels of many books, book by book. In each book buys come first, the best price first."""

    read: np.ndarray
    buys: np.ndarray
    price: np.ndarray
    lots: np.ndarray
    orders: np.ndarray

    def where(self, chosen: np.ndarray) -> Levels:
        return Levels(*(column[chosen] for column in self))

    @classmethod
    def joined(cls, parts: Sequence[Levels]) -> Levels:
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def books_at(changes: Changes, counts: np.ndarray, depth: np.ndarray) -> Levels:
    """Compute several books: book i is the best `depth[i]` levels of either side after the first `counts[i]` events.

    `counts` ascend. Many books are computed side by side, each as a row of all prices of its market.
    """
    prices, level = np.unique(changes.price, return_inverse=True)
    size = len(prices)
    # Buys from the highest price down, then sells from the lowest up, so that the best comes first.
    column = np.where(changes.buys > 0, size - 1 - level, size + level)
    first = np.searchsorted(counts, changes.index, side="right")  # the first book that includes each change
    price, buys = np.concatenate([prices[::-1], prices]), np.repeat([1, 0], size)
    before, parts = np.zeros((2, 2 * size), dtype=np.int64), []
    step = max(1, CELLS_MAX // max(1, 2 * size))
    for begin in range(0, len(counts), step):
        end = min(begin + step, len(counts))
        new = slice(*np.searchsorted(first, (begin, end)))
        at = (first[new] - begin) * 2 * size + column[new]
        lots, orders = (
            _summed(before[n], at, column_of[new], end - begin)
            for n, column_of in enumerate((changes.lots, changes.orders))
        )
        before = np.stack([lots[-1], orders[-1]])
        row, chosen = np.nonzero(_best(lots != 0, depth[begin:end]))
        parts.append(Levels(row + begin, buys[chosen], price[chosen], lots[row, chosen], orders[row, chosen]))
    return Levels.joined(parts)


def _summed(before: np.ndarray, at: np.ndarray, amounts: np.ndarray, rows: int) -> np.ndarray:
    """Return one row for each book: the values before, and all changes up to it."""
    cells = np.zeros(rows * len(before), dtype=np.int64)
    np.add.at(cells, at, amounts)
    return before + np.cumsum(cells.reshape(rows, len(before)), axis=0)


def _best(there: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return which of the existing levels are among the first `depth` of either half of each row."""
    sides = there.reshape(len(there), 2, -1)
    return (sides & (np.cumsum(sides, axis=2) <= depth[:, None, None])).reshape(there.shape)
