"""Check trades against their orders: each fill once, never more than was ordered, and by the rules of trading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kit import ledger_rules
from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import firsts, paired, present, spread, totals, unpaired
from kit.integrity.checks.sequence import stretch
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.ledger_tables import AT_MARKET, BUYS
from kit.integrity.evidence.orders_and_fills import AcceptedOrders, accepted_orders, fill_sides, filled
from kit.integrity.findings.check import Checks, Result, by_key, by_order, by_row, plural
from kit.integrity.findings.counterexample import Subject
from kit.integrity.findings.minimise import smallest

CHECKS = Checks()
DOUBLE_RULE, TRADES_RULE = ledger_rules.NO_DOUBLE_FILL, ledger_rules.TRADES_WITHIN_ORDERS
# The fewest orders with too many trades are searched among this many orders that trade most.
BUSY_MAX = 64


@CHECKS.add(
    DOUBLE_RULE.name,
    noun=DOUBLE_RULE.noun,
    hold=DOUBLE_RULE.hold,
    broke=DOUBLE_RULE.broke,
    needs=("events",),
)
def no_double_fill(evidence: Evidence) -> Result:
    """Check that no order was filled twice, by its quantity or by a second command.

    For all orders of each (client, key) together, Σ filled ≤ quantity, and they took liquidity under one event: an
    order takes liquidity once, when it arrives. Counted by key and not by order id, so that a retry that traded again
    under a new order id is found too.
    """
    accepted, fills, size = evidence.accepted, evidence.fills, evidence.key_count
    if not len(fills):
        return Result(examined=0)
    key_of = spread(accepted["order"], accepted["key"], evidence.order_count, -1)
    wanted = spread(accepted["key"], accepted["qty"], size)
    got = totals(key_of, filled(evidence), size)
    over = np.flatnonzero(ledger_rules.over_filled(got, wanted))
    taker = np.where(fills["order"] >= 0, key_of[fills["order"]], -1)
    event = fills["event"]
    differs = (taker >= 0) & ledger_rules.matched_again(event, event[firsts(taker, size)[taker]])
    bad = np.union1d(over, taker[differs])

    def example(key: int) -> str:
        row = evidence.first_row("events", accepted, key=key)
        verb = "bought" if row["side"] == "BUY" else "sold"
        received = "received" if row["side"] == "BUY" else "gave"
        who = f"order {row['order_id']} (client {row['client_id']})"
        if got[key] > row["qty"]:
            return f"{who} {verb} {plural(row['qty'], 'lot')} but {received} {got[key]}"
        return f"{who} of {plural(row['qty'], 'lot')} was matched again under another event, for {got[key]} in all"

    examined = int(present(accepted["key"], size).sum())
    return by_key(evidence, examined=examined, bad=bad, example=example, clearest=over if len(over) else bad)


@CHECKS.add(
    "no-over-fill",
    noun="filled orders",
    hold="received at most what they ordered",
    broke="received more than they ordered",
    needs=("events",),
)
def no_over_fill(evidence: Evidence) -> Result:
    """F3. Check that no order got more lots than it asked for: Σ fills ≤ its quantity, and each fill > 0."""
    orders, sides, got = accepted_orders(evidence), fill_sides(evidence), filled(evidence)
    not_positive = sides.order[(sides.qty <= 0) & (sides.order >= 0)]
    bad = np.union1d(np.flatnonzero((orders.seq > 0) & (got > orders.qty)), not_positive)

    def example(order: int) -> str:
        wanted = plural(int(orders.qty[order]), "lot")
        return f"order {evidence.order_id(order)} asked for {wanted} and has {got[order]}"

    examined = int(present(sides.order, evidence.order_count).sum())
    return by_order(evidence, examined=examined, bad=bad, example=example)


@CHECKS.add(
    "pair-trades-once",
    noun="pairs of orders",
    hold="traded with each other once",
    broke="traded with each other more than once",
    needs=("events",),
)
def pair_trades_once(evidence: Evidence) -> Result:
    """F2. Check that each (taker order, maker order) has at most one fill.

    A match fills one of the two orders completely.
    """
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
        evidence,
        examined=len(ordered) and 1 + int((ordered[1:] != ordered[:-1]).sum()),
        violations=len(again),
        example=example,
        subject=lambda: Subject(orders=names()),
    )


@CHECKS.add(
    "trade-ids-unique",
    noun="trades",
    hold="have an id of their own",
    broke="carry the id of another trade",
    needs=("events",),
)
def trade_ids_unique(evidence: Evidence) -> Result:
    """F1. Check that each fill has a trade id of its own: |{trade ids}| = |{fills}|, and no trade id is empty."""
    fills = evidence.fills
    trade = fills["content"]  # the content of a fill is its trade id
    bad = np.flatnonzero(_again(trade) | (trade == 0))

    def example() -> str:
        row = evidence.row("events", fills["index"][bad[0]])
        return f"trade id {row['trade_id'] or '(empty)'} at {row['market']} seq {row['seq']} was used before"

    def subject() -> Subject:
        same = np.flatnonzero(trade == trade[bad[0]])[:2]
        orders = (*fills["order"][same].tolist(), *fills["maker"][same].tolist())
        return Subject(orders=tuple(orders), only=fills["index"][same])

    return by_row(evidence, examined=len(fills), violations=len(bad), example=example, subject=subject)


def _again(ids: np.ndarray) -> np.ndarray:
    """Return which ids occurred before.

    Sorting the ids is much faster than sorting indices by them, so it comes first.
    """
    again, ordered = np.zeros(len(ids), dtype=bool), np.sort(ids)
    if (ordered[1:] == ordered[:-1]).any():
        order = np.argsort(ids, kind="stable")
        again[order[1:]] = ids[order[1:]] == ids[order[:-1]]
    return again


@CHECKS.add(
    "fill-parties-exist",
    noun="trades",
    hold="are between accepted orders of their market",
    broke="name an order that their market never accepted",
    needs=("events",),
)
def fill_parties_exist(evidence: Evidence) -> Result:
    """F4. Check that taker and maker of each fill are orders that its market accepted, of the clients that it names."""
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
        row = evidence.row("events", fills["index"][bad[0]])
        return (
            f"trade {row['trade_id']} at {row['market']} seq {row['seq']} between order {row['taker_order_id']} "
            f"of {row['taker_client_id']} and order {row['maker_order_id']} of {row['maker_client_id']}"
        )

    return by_row(
        evidence,
        examined=len(fills),
        violations=len(bad),
        example=example,
        subject=lambda: _trade(evidence, fills, bad),
    )


@CHECKS.add(
    "fills-are-legal",
    noun="trades",
    hold="have opposite sides, legal prices and the right sequence",
    broke="break a rule of trading",
    needs=("events",),
)
def fills_are_legal(evidence: Evidence) -> Result:
    """F5. Check that each fill follows the rules of trading.

    qty > 0 and price > 0. The two orders are of opposite sides and of different clients. The price is the maker's and
    within the taker's limit. The maker is GTC. seq(maker) < seq(taker) < seq(fill) and event(taker) = event(fill).

    The order of events is not checked where one of the orders was accepted twice, which `one-event-per-order` reports.
    Fills whose parties do not exist are reported by `fill-parties-exist`.
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
        row = evidence.row("events", fills["index"][bad[0]])
        return f"trade {row['trade_id']} at {row['market']} seq {row['seq']}: {why}"

    return by_row(
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
        ("the trade belongs to another event than its taker", once & (fills["event"] != orders.event[taker])),
        ("both orders belong to one client", orders.client[maker] == orders.client[taker]),
    ]


def _trade(evidence: Evidence, fills: Rows, bad: np.ndarray) -> Subject:
    """Show the first of the bad fills and both of its orders."""
    numbers = (int(fills["order"][bad[0]]), int(fills["maker"][bad[0]]))
    around = stretch(evidence, int(fills["index"][bad[0]]))
    return Subject(orders=tuple(number for number in numbers if number >= 0), stretch=around)


@CHECKS.add(
    "accepted-orders-legal",
    noun="accepted orders",
    hold="have a positive quantity, and a price if and only if they are limit orders",
    broke="have no positive quantity, or a price that their type does not allow",
    needs=("events",),
)
def accepted_orders_legal(evidence: Evidence) -> Result:
    """F0. Check that each accepted order has qty > 0, and price > 0 if it has a limit or price = 0 if it is MARKET."""
    rows = evidence.accepted
    at_market, price = rows["bits"] & AT_MARKET > 0, rows["price"]
    bad = rows["order"][(rows["qty"] <= 0) | np.where(at_market, price != 0, price <= 0)]

    def example(order: int) -> str:
        row = evidence.first_row("events", rows, order=order)
        return f"order {row['order_id']}: {row['order_type']} of {row['qty']} lots at {row['price']}"

    return by_order(evidence, examined=len(rows), bad=bad, example=example)


@CHECKS.add(
    TRADES_RULE.name,
    noun=TRADES_RULE.noun,
    hold=TRADES_RULE.hold,
    broke=TRADES_RULE.broke,
    needs=("events",),
)
def trades_within_orders(evidence: Evidence) -> Result:
    """Check that each market has at most as many fills as orders that traded.

    |fills| ≤ |{orders that traded}|, because each fill completes its taker or its maker, and an order is completed
    once. `measured` is the excess.
    """
    fills = evidence.fills
    per_market, market = {}, fills["market"]
    for number in evidence.market_ranges.by_market:
        mine = fills.where(market == number)
        orders = present(np.concatenate([mine["order"], mine["maker"]]), evidence.order_count)
        per_market[number] = (len(mine), int(orders.sum()))
    excesses = {number: ledger_rules.excess_trades(*found) for number, found in per_market.items()}
    excess = {number: trades for number, trades in excesses.items() if trades}

    def worst() -> int:
        return max(excess, key=lambda number: excess[number])

    def example() -> str:
        trades, orders = per_market[worst()]
        return f"{evidence.markets[worst()]} shows {trades:,} trades by {orders:,} orders"

    def subject() -> Subject:
        orders, indices = _fewest(fills.where(market == worst()))
        return Subject(orders=orders, only=indices)

    return by_row(evidence, examined=len(fills), violations=sum(excess.values()), example=example, subject=subject)


def _fewest(fills: Rows) -> tuple[tuple[int, ...], np.ndarray]:
    """Find the fewest orders that have more trades with each other than there are orders, and these trades."""
    taker, maker = fills["order"], fills["maker"]

    def among(orders: Sequence[int]) -> np.ndarray:
        return np.isin(taker, orders) & np.isin(maker, orders)

    def shows(orders: Sequence[int]) -> bool:
        return int(among(orders).sum()) > len(orders)

    found, times = np.unique(np.concatenate([taker, maker]), return_counts=True)
    by_trades = found[np.argsort(-times, kind="stable")].tolist()
    size = 2
    # Start with the few that trade most and double until they show the violation.
    while size < len(by_trades) and not shows(by_trades[:size]):
        size *= 2
    fewest = smallest(by_trades[:size], shows) if size <= BUSY_MAX else by_trades[:BUSY_MAX]
    return tuple(fewest), fills["index"][among(fewest)]
