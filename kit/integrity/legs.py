"""Accepted orders as arrays by order number, and both sides of every fill: what checks of trades are made of.

Owns no invariant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kit.integrity.counting import counts, spread
from kit.integrity.evidence import Evidence
from kit.integrity.ledger_tables import AT_MARKET, BUYS, RESTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """By order number; of an order accepted twice, the first acceptance."""

    seq: np.ndarray  # 0 = never accepted
    qty: np.ndarray
    price: np.ndarray
    bits: np.ndarray
    market: np.ndarray
    client: np.ndarray
    key: np.ndarray  # number of (client, key), -1 for none
    event: np.ndarray  # hash of the intake event's id
    once: np.ndarray  # accepted a single time, so that `seq` is the time of all its trades

    @property
    def buys(self) -> np.ndarray:
        return self.bits & BUYS > 0

    @property
    def at_market(self) -> np.ndarray:
        return self.bits & AT_MARKET > 0

    @property
    def rests(self) -> np.ndarray:
        return self.bits & RESTS > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Legs:
    """One entry a side of every fill, takers first. `place` is the fill's place among the fills."""

    order: np.ndarray
    qty: np.ndarray
    place: np.ndarray


def accepted_orders(evidence: Evidence) -> Orders:
    """One array a column, as long as there are orders."""
    rows, size = evidence.accepted, evidence.order_count
    order = rows["order"]
    return Orders(
        seq=spread(order, rows["seq"], size),
        qty=spread(order, rows["qty"], size),
        price=spread(order, rows["price"], size),
        bits=spread(order, rows["bits"], size),
        market=spread(order, rows["market"], size, -1),
        client=spread(order, rows["client"], size, -1),
        key=spread(order, rows["key"], size, -1),
        event=spread(order, rows["event"], size),
        once=counts(order, size) == 1,
    )


def legs(evidence: Evidence) -> Legs:
    fills = evidence.fills
    qty, place = fills["qty"], np.arange(len(fills), dtype=np.int32)
    return Legs(
        order=np.concatenate([fills["order"], fills["maker"]]),
        qty=np.concatenate([qty, qty]),
        place=np.concatenate([place, place]),
    )


def filled(evidence: Evidence) -> np.ndarray:
    """Σ lots of all fills by order number."""
    sides, sums = evidence.fills, np.zeros(evidence.order_count, dtype=np.int64)
    qty = sides["qty"].astype(np.int64)
    for column in ("order", "maker"):
        numbers = sides[column]
        some = numbers >= 0
        np.add.at(sums, numbers[some], qty[some])
    return sums
