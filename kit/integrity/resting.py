"""What rests in a market at any place of its ledger, price by price: sums of the ledger's events and no matching.

Owns the sums; must not know who asks. A third way beside PaperBroker's book and the replay's, and the least clever.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kit.integrity.book_tables import Level
from kit.integrity.evidence import Evidence
from kit.integrity.ledger_tables import ACCEPTED, CANCELLED, FILL
from kit.integrity.legs import Orders


class Changes(NamedTuple):
    """By place in the market's events, in order: `lots` and `orders` come to the level (buys, price)."""

    place: np.ndarray
    buys: np.ndarray
    price: np.ndarray
    lots: np.ndarray
    orders: np.ndarray


def changes(evidence: Evidence, orders: Orders, first: int, last: int) -> Changes:
    """Of the events from `first` to `last`, which are one market's.

    An order that may rest comes with all its lots; each fill takes lots from its maker and from a taker that may rest,
    a cancel what was left. An order leaves with its last such event, if nothing of it is left then.
    """
    names = ("type", "order", "maker", "qty")
    kind, taker, maker, qty = (evidence.events[name][first:last] for name in names)
    parts = [  # (places, orders, lots, orders that come)
        _part(kind == ACCEPTED, taker, qty, 1),
        _part(kind == FILL, taker, -qty, 0),
        _part(kind == FILL, maker, -qty, 0),
        _part(kind == CANCELLED, taker, -qty, 0),
    ]
    place, order, lots, come = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    rests = (order >= 0) & orders.rests[order]
    place, order, lots, come = (column[rests] for column in (place, order, lots, come))
    by_place = np.argsort(place, kind="stable")
    place, order, lots, come = (column[by_place] for column in (place, order, lots, come))
    come = come - _leaves(order, lots)
    return Changes(place, orders.buys[order].astype(np.int64), orders.price[order].astype(np.int64), lots, come)


def _part(chosen: np.ndarray, order: np.ndarray, lots: np.ndarray, come: int) -> tuple[np.ndarray, ...]:
    places = np.flatnonzero(chosen)
    return places, order[places], lots[places].astype(np.int64), np.full(len(places), come, dtype=np.int64)


def _leaves(order: np.ndarray, lots: np.ndarray) -> np.ndarray:
    """1 where an order's lots come to nothing for good."""
    by_order = np.argsort(order, kind="stable")
    ends = np.concatenate([np.flatnonzero(np.diff(order[by_order])), [len(order) - 1]]) if len(order) else by_order
    sums = np.cumsum(lots[by_order])[ends]
    left = np.diff(sums, prepend=0)
    out = np.zeros(len(order), dtype=np.int64)
    out[by_order[ends[left == 0]]] = 1
    return out


class Resting:
    """The book of one market as it moves along its ledger: places are asked for in ascending order."""

    def __init__(self, made: Changes) -> None:
        self._made, self._done = made, 0
        self._prices, self._level = np.unique(made.price, return_inverse=True)
        self._lots = np.zeros((2, len(self._prices)), dtype=np.int64)
        self._orders = np.zeros((2, len(self._prices)), dtype=np.int64)

    def at(self, place: int, depth: int) -> tuple[list[Level], list[Level]]:
        """The best `depth` levels of sells and buys once the first `place` events have happened."""
        made, end = self._made, int(np.searchsorted(self._made.place, place))
        news = slice(self._done, end)
        where = (made.buys[news], self._level[news])
        np.add.at(self._lots, where, made.lots[news])
        np.add.at(self._orders, where, made.orders[news])
        self._done = max(self._done, end)
        return self._best(0, depth), self._best(1, depth)

    def _best(self, buys: int, depth: int) -> list[Level]:
        there = np.flatnonzero(self._lots[buys])
        there = there[::-1][:depth] if buys else there[:depth]
        columns = (self._prices[there], self._lots[buys][there], self._orders[buys][there])
        return list(zip(*(column.tolist() for column in columns), strict=True))
