"""Trades against the orders behind them: each fill once, never more than was ordered, and legal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import firsts, paired, present, spread, totals, unpaired
from kit.integrity.checks.sequence import stretch
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.ledger_tables import AT_MARKET, BUYS
from kit.integrity.evidence.orders_and_fills import AcceptedOrders, accepted_orders, fill_sides, filled
from kit.integrity.findings.check import Check, Wording, by_key, by_order, by_row, plural
from kit.integrity.findings.counterexample import Subject
from kit.model import Finding

TRADE_IDS = Wording(
    name="trade-ids-unique",
    noun="trades",
    hold="have an id of their own",
    broke="carry the id of another trade",
)
PAIRS = Wording(
    name="pair-trades-once",
    noun="pairs of orders",
    hold="traded with each other once",
    broke="traded with each other more than once",
)
DOUBLE = Wording(
    name="no-double-fill", noun="orders", hold="were filled at most once", broke="were filled twice", unit="orders"
)
OVER = Wording(
    name="no-over-fill",
    noun="filled orders",
    hold="received at most what they ordered",
    broke="received more than they ordered",
)
PARTIES = Wording(
    name="fill-parties-exist",
    noun="trades",
    hold="are between accepted orders of their market",
    broke="name an order that their market never accepted",
)
LEGAL = Wording(
    name="fills-are-legal",
    noun="trades",
    hold="have opposite sides, legal prices and the right order in time",
    broke="break a rule of trading",
)
ORDERS_LEGAL = Wording(
    name="accepted-orders-legal",
    noun="accepted orders",
    hold="ask for lots, and at a price where they have a limit",
    broke="ask for no lots, or have no price or one too many",
)


def trade_ids_unique(evidence: Evidence) -> Finding:
    """F1. |{trade ids}| = |{fills}|, and none is empty."""
    fills = evidence.fills
    trade = fills["content"]  # of a fill its trade id
    bad = np.flatnonzero(_again(trade) | (trade == 0))

    def example() -> str:
        row = evidence.rows("events", fills["index"][bad[:1]])[0]
        return f"trade id {row['trade_id'] or '(empty)'} at {row['market']} seq {row['seq']} is not the first such"

    def subject() -> Subject:
        same = np.flatnonzero(trade == trade[bad[0]])[:2]
        orders = (*fills["order"][same].tolist(), *fills["maker"][same].tolist())
        return Subject(orders=tuple(orders), only=fills["index"][same])

    return by_row(TRADE_IDS, evidence, examined=len(fills), violations=len(bad), example=example, subject=subject)


def _again(ids: np.ndarray) -> np.ndarray:
    """Where an id stands that stood before. To sort ids is much quicker than to sort places by them."""
    again, ordered = np.zeros(len(ids), dtype=bool), np.sort(ids)
    if (ordered[1:] == ordered[:-1]).any():
        order = np.argsort(ids, kind="stable")
        again[order[1:]] = ids[order[1:]] == ids[order[:-1]]
    return again


def pair_trades_once(evidence: Evidence) -> Finding:
    """F2. For each (taker order, maker order): |fills| ≤ 1. One match uses up one of the two: there is no second."""
    fills = evidence.fills
    pairs = paired(fills["order"], fills["maker"])
    ordered = np.sort(pairs)
    again = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])

    def names() -> tuple[int, int]:
        return unpaired(again[0])

    def example() -> str:
        taker, maker = (evidence.order_id(number) for number in names())
        return f"order {taker} took from order {maker} {int((pairs == again[0]).sum())} times"

    return by_row(
        PAIRS,
        evidence,
        examined=len(ordered) and 1 + int((ordered[1:] != ordered[:-1]).sum()),
        violations=len(again),
        example=example,
        subject=lambda: Subject(orders=names()),
    )


def no_double_fill(evidence: Evidence) -> Finding:
    """What one (client, key) asked for was filled more than once. For the orders of each key together:
    Σ filled > quantity, or it took liquidity under two events (an order takes once, when it arrives).

    By key and not by order id, so that a retry under a new order id that traded again counts too.
    """
    accepted, fills, size = evidence.accepted, evidence.fills, evidence.key_count
    if not len(fills):
        return DOUBLE.nothing()
    key_of = spread(accepted["order"], accepted["key"], evidence.order_count, -1)
    wanted = spread(accepted["key"], accepted["qty"], size)
    got = totals(key_of, filled(evidence), size)
    over = np.flatnonzero(got > wanted)
    taker = np.where(fills["order"] >= 0, key_of[fills["order"]], -1)
    event = fills["event"]
    differs = (taker >= 0) & (event != event[firsts(taker, size)[taker]])
    bad = np.union1d(over, taker[differs])

    def example(key: int) -> str:
        row = evidence.rows("events", accepted["index"][np.flatnonzero(accepted["key"] == key)[:1]])[0]
        verb = "bought" if row["side"] == "BUY" else "sold"
        received = "received" if row["side"] == "BUY" else "gave"
        who = f"order {row['order_id']} (client {row['client_id']})"
        if got[key] > row["qty"]:
            return f"{who} {verb} {plural(row['qty'], 'lot')} but {received} {got[key]}"
        return f"{who} of {plural(row['qty'], 'lot')} was matched again after a match, for {got[key]} in all"

    examined = int(present(accepted["key"], size).sum())
    return by_key(DOUBLE, evidence, examined=examined, bad=bad, example=example, tell=over if len(over) else bad)


def no_over_fill(evidence: Evidence) -> Finding:
    """F3. For each order: Σ fills ≤ its quantity, and every fill > 0."""
    orders, sides, got = accepted_orders(evidence), fill_sides(evidence), filled(evidence)
    not_positive = sides.order[(sides.qty <= 0) & (sides.order >= 0)]
    bad = np.union1d(np.flatnonzero((orders.seq > 0) & (got > orders.qty)), not_positive)

    def example(order: int) -> str:
        wanted = plural(int(orders.qty[order]), "lot")
        return f"order {evidence.order_id(order)} asked for {wanted} and has {got[order]}"

    examined = int(present(sides.order, evidence.order_count).sum())
    return by_order(OVER, evidence, examined=examined, bad=bad, example=example)


def fill_parties_exist(evidence: Evidence) -> Finding:
    """F4. Taker and maker of each fill are orders that the same market accepted, of the clients that the fill names."""
    orders, fills = accepted_orders(evidence), evidence.fills
    wrong = np.zeros(len(fills), dtype=bool)
    for party, client in (("order", "client"), ("maker", "maker_client")):
        numbers = fills[party]
        known = numbers >= 0
        at = np.where(known, numbers, 0)
        wrong |= ~known
        if evidence.order_count:
            wrong |= (orders.seq[at] == 0) | (orders.market[at] != fills["market"])
            wrong |= orders.client[at] != fills[client]
    bad = np.flatnonzero(wrong)

    def example() -> str:
        row = evidence.rows("events", fills["index"][bad[:1]])[0]
        return (
            f"trade {row['trade_id']} at {row['market']} seq {row['seq']} between order {row['taker_order_id']} "
            f"of {row['taker_client_id']} and order {row['maker_order_id']} of {row['maker_client_id']}"
        )

    return by_row(
        PARTIES,
        evidence,
        examined=len(fills),
        violations=len(bad),
        example=example,
        subject=lambda: _trade(evidence, fills, bad),
    )


def _rules(fills: Rows, orders: AcceptedOrders) -> list[tuple[str, np.ndarray]]:
    taker, maker = fills["order"], fills["maker"]
    price, seq = fills["price"], fills["seq"]
    buys = orders.buys[taker]
    once = orders.once[taker] & orders.once[maker]
    within = np.where(buys, price <= orders.price[taker], price >= orders.price[taker])
    return [
        ("the quantity is not positive", fills["qty"] <= 0),
        ("the price is not positive", price <= 0),
        ("both orders are on the same side", buys == orders.buys[maker]),
        ("the fill names the wrong side of its taker", buys != (fills["bits"] & BUYS > 0)),
        ("the price is not the maker's", price != orders.price[maker]),
        ("the price is worse than the taker's limit", ~orders.at_market[taker] & ~within),
        ("the maker is an order that cannot rest", ~orders.rests[maker]),
        ("the maker was accepted after the taker", once & (orders.seq[maker] >= orders.seq[taker])),
        ("the trade was sequenced before its taker", seq <= orders.seq[taker]),
        ("the trade is of another event than its taker", once & (fills["event"] != orders.event[taker])),
        ("both orders are of one client", orders.client[maker] == orders.client[taker]),
    ]


def fills_are_legal(evidence: Evidence) -> Finding:
    """F5. qty > 0 and price > 0; opposite sides; the maker's price, within the taker's limit; the maker is GTC; of two
    clients; seq(maker) < seq(taker) < seq(fill) and event(taker) = event(fill), unless one of them was accepted twice
    (`one-event-per-order`). Fills whose parties do not exist are `fill-parties-exist`.
    """
    orders, fills = accepted_orders(evidence), evidence.fills
    taker, maker = fills["order"], fills["maker"]
    known = np.flatnonzero((taker >= 0) & (maker >= 0))
    fills = fills.where(known[(orders.seq[taker[known]] > 0) & (orders.seq[maker[known]] > 0)])
    rules = _rules(fills, orders)
    wrong = np.logical_or.reduce([broken for _, broken in rules])
    bad = np.flatnonzero(wrong)

    def example() -> str:
        why = next(words for words, broken in rules if broken[bad[0]])
        row = evidence.rows("events", fills["index"][bad[:1]])[0]
        return f"trade {row['trade_id']} at {row['market']} seq {row['seq']}: {why}"

    return by_row(
        LEGAL,
        evidence,
        examined=len(fills),
        violations=len(bad),
        example=example,
        subject=lambda: _trade(evidence, fills, bad),
    )


def accepted_orders_legal(evidence: Evidence) -> Finding:
    """F0. For each accepted order: qty > 0; price > 0 if it has a limit, price = 0 if it is MARKET."""
    rows = evidence.accepted
    at_market, price = rows["bits"] & AT_MARKET > 0, rows["price"]
    bad = rows["order"][(rows["qty"] <= 0) | np.where(at_market, price != 0, price <= 0)]

    def example(order: int) -> str:
        row = evidence.rows("events", rows["index"][np.flatnonzero(rows["order"] == order)[:1]])[0]
        return f"order {row['order_id']}: {row['order_type']} of {row['qty']} lots at {row['price']}"

    return by_order(ORDERS_LEGAL, evidence, examined=len(rows), bad=bad, example=example)


def _trade(evidence: Evidence, fills: Rows, bad: np.ndarray) -> Subject:
    """The first of the bad fills, with the orders that it names."""
    numbers = (int(fills["order"][bad[0]]), int(fills["maker"][bad[0]]))
    around = stretch(evidence, int(fills["index"][bad[0]]))
    return Subject(orders=tuple(number for number in numbers if number >= 0), stretch=around)


def _check(wording: Wording, find: Callable[[Evidence], Finding]) -> Check:
    return Check(name=wording.name, find=find, needs=("events",))


CHECKS = (
    _check(DOUBLE, no_double_fill),
    _check(OVER, no_over_fill),
    _check(PAIRS, pair_trades_once),
    _check(TRADE_IDS, trade_ids_unique),
    _check(PARTIES, fill_parties_exist),
    _check(LEGAL, fills_are_legal),
    _check(ORDERS_LEGAL, accepted_orders_legal),
)
