"""Check that the ledger, the stored orders and the stored balances agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kit.integrity.arrays.grouping import firsts, present, spread
from kit.integrity.evidence import order_content
from kit.integrity.evidence.client_tables import STATES
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.ledger_tables import BUYS
from kit.integrity.evidence.orders_and_fills import filled
from kit.integrity.findings.check import Checks, Result, by_order, by_row
from kit.integrity.findings.counterexample import STEPS_MAX, Subject, balance_step, event_steps
from kit.integrity.findings.minimise import smallest

CHECKS = Checks()

# The smallest counterexample is searched among at most so many clients or orders.
SUSPECTS_MAX = 256

ACCEPTED, OPEN, PARTLY, FILLED, CANCELLED, REJECTED = range(len(STATES))
NOT_STORED = -1


@CHECKS.add(
    "order-state-equals-fills",
    noun="orders",
    hold="are stored with the status and filled quantity of the ledger",
    broke="are stored with another status or filled quantity than in the ledger",
    needs=("events", "orders"),
)
def order_state_equals_fills(evidence: Evidence) -> Result:
    """C1a. Check that the stored status and filled quantity of each order follow from its ledger events.

    Examined are the orders in the ledger or the store. The stored filledQty is Σ fills. The status is REJECTED,
    CANCELLED, FILLED, PARTIALLY_FILLED or OPEN, and ACCEPTED for an order that is not sequenced.
    """
    size, orders = evidence.order_count, evidence.orders
    wanted, done = _ledger_state(evidence)
    state = spread(orders["order"], orders["state"], size, NOT_STORED)
    stored = spread(orders["order"], orders["filled"], size)
    # A resting order may be kept as ACCEPTED: the contract does not say when it becomes OPEN.
    same = (wanted == state) | ((wanted == OPEN) & (state == ACCEPTED)) | ((wanted == NOT_STORED) & (state == ACCEPTED))
    concerned = (wanted != NOT_STORED) | (state != NOT_STORED)
    bad = np.flatnonzero(concerned & ~(same & (done == stored)))

    def example(order: int) -> str:
        kept = STATES[state[order]] if state[order] != NOT_STORED else "not stored"
        expected = STATES[wanted[order]] if wanted[order] != NOT_STORED else "ACCEPTED"
        return (
            f"order {evidence.order_id(order)} is stored as {kept} with {stored[order]} lots "
            f"filled, the ledger says {expected} with {done[order]}"
        )

    return by_order(evidence, examined=int(concerned.sum()), bad=bad, example=example)


def _ledger_state(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Compute status and lots filled by order number from the events alone; NOT_STORED where the order has no event."""
    size, accepted = evidence.order_count, evidence.accepted
    let_in, refused = present(accepted["order"], size), present(evidence.rejected["order"], size)
    qty, done = spread(accepted["order"], accepted["qty"], size), filled(evidence)
    state = np.full(size, NOT_STORED, dtype=np.int8)
    state[let_in] = OPEN
    state[let_in & (done > 0)] = PARTLY
    state[let_in & (done >= qty)] = FILLED
    state[refused & ~let_in] = REJECTED
    state[present(evidence.cancelled["order"], size) & (let_in | refused)] = CANCELLED
    # An order that trades without being accepted breaks `fill-parties-exist`.
    return state, np.where(let_in | refused, done, 0)


@CHECKS.add(
    "bought-equals-sold",
    noun="markets",
    hold="have as many lots bought as sold in their stored orders",
    broke="have different numbers of lots bought and sold in their stored orders",
    needs=("orders",),
)
def bought_equals_sold(evidence: Evidence) -> Result:
    """C0. Check that each market's stored orders bought as many lots as they sold.

    Σ filledQty of buyers = Σ filledQty of sellers.
    """
    orders = evidence.orders
    signed = np.where(orders["buys"] != 0, 1, -1) * orders["filled"].astype(np.int64)
    market = orders["market"]
    excess = np.zeros(len(evidence.markets), dtype=np.int64)
    np.add.at(excess, market, signed)
    bad = np.flatnonzero(excess)

    def example() -> str:
        name, more = evidence.markets[int(bad[0])], int(excess[bad[0]])
        way = "bought than sold" if more > 0 else "sold than bought"
        return f"in {name} {abs(more)} more lots are stored as {way}"

    def subject() -> Subject:
        mine = np.flatnonzero(market == bad[0])
        numbers = orders["order"][mine]
        off = signed[mine] - np.where(orders["buys"][mine] != 0, 1, -1) * filled(evidence)[numbers]
        return Subject(orders=tuple(_fewest(numbers[off != 0], off[off != 0]) or numbers[:1].tolist()))

    examined = int(present(market, len(evidence.markets)).sum())
    return by_row(evidence, examined=examined, violations=len(bad), example=example, subject=subject)


def _fewest(numbers: np.ndarray, off: np.ndarray) -> list[int]:
    """Find the fewest of these orders whose differences sum to the difference of all."""
    known = dict(zip(numbers.tolist(), off.tolist(), strict=True))
    whole = sum(known.values())
    if len(known) > SUSPECTS_MAX:
        return list(known)[:1]
    return smallest(list(known), lambda some: sum(known[one] for one in some) == whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """One entry for each (client, market) that has fills or a balance."""

    client: np.ndarray
    market: np.ndarray
    expected: np.ndarray  # Σ fills, in two columns: lots, cash
    stored: np.ndarray

    @property
    def off(self) -> np.ndarray:
        return self.stored - self.expected


def _accounts(evidence: Evidence) -> Accounts:
    fills, positions, markets = evidence.fills, evidence.positions, max(1, len(evidence.markets))
    sign = np.where(fills["bits"] & BUYS > 0, 1, -1)
    lots = fills["qty"].astype(np.int64) * sign
    cash = -lots * fills["price"].astype(np.int64)
    size = max(1, evidence.client_count) * markets
    expected, stored = np.zeros((size, 2), dtype=np.int64), np.zeros((size, 2), dtype=np.int64)
    there = np.zeros(size, dtype=bool)
    for client, way in (("client", 1), ("maker_client", -1)):
        at = _account(fills[client], fills["market"], markets)
        np.add.at(expected[:, 0], at, way * lots)
        np.add.at(expected[:, 1], at, way * cash)
        there[at] = True
    at = _account(positions["client"], positions["market"], markets)
    np.add.at(stored[:, 0], at, positions["qty"].astype(np.int64))
    np.add.at(stored[:, 1], at, positions["cash"].astype(np.int64))
    there[at] = True
    used = np.flatnonzero(there)
    return Accounts(client=used // markets, market=used % markets, expected=expected[used], stored=stored[used])


def _account(client: np.ndarray, market: np.ndarray, markets: int) -> np.ndarray:
    return np.maximum(client, 0).astype(np.int64) * markets + market


@CHECKS.add(
    "positions-equal-fills",
    noun="balances",
    hold="equal the sum of their client's fills",
    broke="differ from the sum of their client's fills",
    needs=("events", "positions"),
)
def positions_equal_fills(evidence: Evidence) -> Result:
    """C1b. Check that each stored balance is the sum of its client's fills in the market.

    qty = Σ bought − Σ sold, cash = Σ sold · price − Σ bought · price.
    """
    accounts = _accounts(evidence)
    bad = np.flatnonzero((accounts.off != 0).any(axis=1))

    def example() -> str:
        row = _balance(evidence, accounts, int(bad[0]))
        lots, cash = accounts.expected[bad[0]]
        return (
            f"client {row['client_id']} is stored with {row['qty']} lots of {row['market']} and {row['cash']} of cash, "
            f"but its fills sum to {lots} and {cash}"
        )

    def subject() -> Subject:
        return _difference(evidence, accounts, int(bad[0]))

    return by_row(
        evidence,
        examined=len(accounts.client),
        violations=len(bad),
        example=example,
        subject=subject,
    )


def _difference(evidence: Evidence, accounts: Accounts, at: int) -> Subject:
    """Show the balance with the few fills that make up its difference, or with all of its client's fills."""
    fills = evidence.fills
    client, market = accounts.client[at], accounts.market[at]
    bought = np.where(fills["bits"] & BUYS > 0, 1, -1)
    way = np.where(fills["client"] == client, bought, 0) - np.where(fills["maker_client"] == client, bought, 0)
    mine = np.flatnonzero((fills["market"] == market) & (way != 0))
    lots = fills["qty"][mine].astype(np.int64) * way[mine]
    posted = np.stack([lots, -lots * fills["price"][mine].astype(np.int64)], axis=1)
    # If a fill, or consecutive fills, were posted twice or never, their sum equals the difference.
    suspects = np.flatnonzero((np.abs(posted) == np.abs(accounts.off[at])).all(axis=1))[:1]
    if not len(suspects):
        suspects = _consecutive(posted, -accounts.off[at])
    chosen = fills["index"][mine[suspects] if len(suspects) else mine]
    steps = tuple(event_steps(evidence, chosen)) if len(chosen) else ()
    return Subject(steps=(*steps, balance_step(_balance(evidence, accounts, at))))


def _consecutive(posted: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Find consecutive fills that sum to `total`, such as a batch that was never posted; empty if there are none."""
    sums = np.concatenate([[[0, 0]], np.cumsum(posted, axis=0)])
    ends = {tuple(end): index for index, end in enumerate(sums.tolist())}
    for first, end in enumerate((sums + total).tolist()):
        last = ends.get(tuple(end), -1)
        if last > first:
            return np.arange(first, last)
    return np.zeros(0, dtype=np.int64)


def _balance(evidence: Evidence, accounts: Accounts, at: int) -> dict[str, Any]:
    client, market = int(accounts.client[at]), int(accounts.market[at])
    lots, cash = accounts.stored[at].tolist()
    return {
        "client_id": evidence.client_id(client),
        "market": evidence.markets[market],
        "qty": lots,
        "cash": cash,
    }


@CHECKS.add(
    "balances-sum-to-zero",
    noun="markets",
    hold="have balances that sum to zero over all clients",
    broke="have balances that do not sum to zero over all clients",
    needs=("positions",),
)
def balances_sum_to_zero(evidence: Evidence) -> Result:
    """C2. Check that the stored balances of all clients sum to zero in each market: Σ qty = 0 and Σ cash = 0."""
    positions = evidence.positions
    sums = np.zeros((max(1, len(evidence.markets)), 2), dtype=np.int64)
    np.add.at(sums[:, 0], positions["market"], positions["qty"].astype(np.int64))
    np.add.at(sums[:, 1], positions["market"], positions["cash"].astype(np.int64))
    bad = np.flatnonzero((sums != 0).any(axis=1))

    def example() -> str:
        lots, cash = sums[bad[0]].tolist()
        return f"in {evidence.markets[int(bad[0])]} all balances sum to {lots} lots and {cash} of cash"

    return by_row(
        evidence,
        examined=int(present(positions["market"], len(evidence.markets)).sum()),
        violations=len(bad),
        example=example,
        subject=lambda: _unbalanced_clients(evidence, int(bad[0])),
    )


def _unbalanced_clients(evidence: Evidence, market: int) -> Subject:
    """Find the fewest clients whose balances explain the difference from zero."""
    accounts = _accounts(evidence)
    suspects = np.flatnonzero((accounts.market == market) & (accounts.off != 0).any(axis=1)).tolist()
    whole = accounts.off[suspects].sum(axis=0)

    def shows(some: Sequence[int]) -> bool:
        return bool((accounts.off[list(some)].sum(axis=0) == whole).all())

    chosen = smallest(suspects, shows) if len(suspects) <= SUSPECTS_MAX else suspects
    if not chosen:
        chosen = np.flatnonzero(accounts.market == market).tolist()
    return Subject(steps=tuple(balance_step(_balance(evidence, accounts, at)) for at in chosen[:STEPS_MAX]))


SAME = ("content", "client", "key")


@CHECKS.add(
    "stored-as-sequenced",
    noun="stored orders",
    hold="equal their sequenced orders",
    broke="differ from their sequenced orders",
    needs=("events", "orders"),
)
def stored_as_sequenced(evidence: Evidence) -> Result:
    """E3c. Check that each stored order has the content of its accepted event.

    Compared are client, key, market, side, type, tif, qty and price. An order that is stored and never sequenced breaks
    `accepted-equals-sequenced`.
    """
    orders, accepted = evidence.orders, evidence.accepted
    index = np.append(firsts(accepted["order"], evidence.order_count), -1)[orders["order"]]
    known = np.flatnonzero(index >= 0)
    there = index[known]
    differs = np.logical_or.reduce([orders[column][known] != accepted[column][there] for column in SAME])
    bad = orders["order"][known[differs]]

    def example(number: int) -> str:
        at = np.flatnonzero(differs & (orders["order"][known] == number))[:1]
        stored = evidence.rows("orders", known[at])[0]
        row = evidence.rows("events", accepted["index"][there[at]])[0]
        return (
            f"order {row['order_id']}: {order_content.differences(_comparable(stored), _comparable(row), 'sequenced')}"
        )

    return by_order(evidence, examined=len(known), bad=bad, example=example)


def _comparable(row: dict) -> dict:
    return order_content.canonical(row) | {"client": row["client_id"], "key": row["idempotency_key"]}
