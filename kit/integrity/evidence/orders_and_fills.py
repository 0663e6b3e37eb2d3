"""Give accepted orders as arrays by order number, and both sides of every fill."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import counts, firsts, totals
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.ledger_tables import AT_MARKET, BUYS, RESTS


class AcceptedOrders:
    """Arrays by order number. An order that was accepted twice has the values of its first acceptance.

    Each array is computed when it is first used, because most checks need only three of them.
    """

    def __init__(self, accepted: Rows, size: int) -> None:
        self._accepted, self._size = accepted, size
        self._first = firsts(accepted["order"], size)

    def _column(self, name: str, default: int = 0) -> np.ndarray:
        values = self._accepted[name]
        # The appended value is for orders that were never accepted, whose first index is −1.
        return np.append(values, values.dtype.type(default)).take(self._first)

    @cached_property
    def seq(self) -> np.ndarray:
        """0 if the order was never accepted."""
        return self._column("seq")

    @cached_property
    def qty(self) -> np.ndarray:
        return self._column("qty")

    @cached_property
    def price(self) -> np.ndarray:
        return self._column("price")

    @cached_property
    def bits(self) -> np.ndarray:
        return self._column("bits")

    @cached_property
    def market(self) -> np.ndarray:
        return self._column("market", -1)

    @cached_property
    def client(self) -> np.ndarray:
        return self._column("client", -1)

    @cached_property
    def event(self) -> np.ndarray:
        """Hash of the intake event's id."""
        return self._column("event")

    @cached_property
    def once(self) -> np.ndarray:
        """Accepted a single time, so that `seq` comes before all of the order's trades."""
        return counts(self._accepted["order"], self._size) == 1

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
class FillSides:
    """Two entries for every fill, all takers first. `fill` is the index among the fills."""

    order: np.ndarray
    qty: np.ndarray
    fill: np.ndarray


def accepted_orders(evidence: Evidence) -> AcceptedOrders:
    return AcceptedOrders(evidence.accepted, evidence.order_count)


def fill_sides(evidence: Evidence) -> FillSides:
    fills = evidence.fills
    qty, fill = fills["qty"], np.arange(len(fills), dtype=np.int32)
    return FillSides(
        order=np.concatenate([fills["order"], fills["maker"]]),
        qty=np.concatenate([qty, qty]),
        fill=np.concatenate([fill, fill]),
    )


def filled(evidence: Evidence) -> np.ndarray:
    """Sum the lots of all fills by order number."""
    sides = evidence.fills
    taken, given = (totals(sides[column], sides["qty"], evidence.order_count) for column in ("order", "maker"))
    return taken + given
