"""The dashboard's anomaly: more trades than the orders that traded allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import present
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.findings.check import Check, Wording, by_row
from kit.integrity.findings.counterexample import Subject
from kit.integrity.findings.minimise import smallest
from kit.model import Finding

# The orders that trade most are where trades outnumber orders; the fewest are sought among these.
BUSY_MAX = 64

TRADES = Wording(
    name="trades-within-orders",
    noun="trades",
    hold="together are no more than the orders that traded",
    broke="are more than the orders that traded allow",
)


def trades_within_orders(evidence: Evidence) -> Finding:
    """Every fill uses up its taker or its maker, and an order is used up once, so per market
    |fills| ≤ |{orders that traded}|. `measured` is the excess.
    """
    fills = evidence.fills
    per_market, market = {}, fills["market"]
    for number in evidence.market_ranges.by_market:
        mine = fills.where(market == number)
        orders = present(np.concatenate([mine["order"], mine["maker"]]), evidence.order_count)
        per_market[number] = (len(mine), int(orders.sum()))
    excess = {number: trades - orders for number, (trades, orders) in per_market.items() if trades > orders}

    def worst() -> int:
        return max(excess, key=lambda number: excess[number])

    def example() -> str:
        trades, orders = per_market[worst()]
        return f"{evidence.markets[worst()]} shows {trades:,} trades by {orders:,} orders"

    def subject() -> Subject:
        orders, indices = _fewest(fills.where(market == worst()))
        return Subject(orders=orders, only=indices)

    return by_row(
        TRADES, evidence, examined=len(fills), violations=sum(excess.values()), example=example, subject=subject
    )


def _fewest(fills: Rows) -> tuple[tuple[int, ...], np.ndarray]:
    """The fewest orders with more trades among them than they are, and these trades."""
    taker, maker = fills["order"], fills["maker"]

    def among(orders: Sequence[int]) -> np.ndarray:
        return np.isin(taker, orders) & np.isin(maker, orders)

    def shows(orders: Sequence[int]) -> bool:
        return int(among(orders).sum()) > len(orders)

    found, times = np.unique(np.concatenate([taker, maker]), return_counts=True)
    by_trades = found[np.argsort(-times, kind="stable")].tolist()
    size = 2
    # From the busiest few on: the whole market is asked only if no smaller part shows it.
    while size < len(by_trades) and not shows(by_trades[:size]):
        size *= 2
    fewest = smallest(by_trades[:size], shows) if size <= BUSY_MAX else by_trades[:BUSY_MAX]
    return tuple(fewest), fills["index"][among(fewest)]


CHECKS = (Check(name=TRADES.name, find=trades_within_orders, needs=("events",)),)
