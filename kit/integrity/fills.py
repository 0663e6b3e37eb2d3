"""Trades against the orders behind them: each fill once, never more than was ordered, and legal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit.integrity.answer import Check, Wording, by_key, by_order, by_row, plural
from kit.integrity.counterexample import Story
from kit.integrity.evidence import Column, Evidence, Table
from kit.integrity.sequence import stretch
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
TRADES = Wording(
    name="trades-within-orders",
    noun="trades",
    hold="together are no more than the orders that traded",
    broke="are more than the orders that traded allow",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Accepted orders as arrays by order number; of an order accepted twice, the first acceptance."""

    seq: np.ndarray  # 0 = never accepted
    qty: np.ndarray
    price: np.ndarray
    is_buy: np.ndarray
    is_market: np.ndarray
    rests: np.ndarray
    market: np.ndarray
    client: np.ndarray
    key: np.ndarray  # number of (client, key), -1 for none
    once: np.ndarray  # accepted a single time, so that `seq` is the time of all its trades


def accepted_orders(evidence: Evidence) -> Orders:
    rows = evidence.accepted[evidence.accepted["order_no"] >= 0]
    first = rows.drop_duplicates("order_no")
    again = rows.loc[rows["order_no"].duplicated(), "order_no"]
    places = first["order_no"].to_numpy()

    def spread(values: Column, default: object) -> np.ndarray:
        spreaded = np.full(len(evidence.order_names), default, dtype=object if isinstance(default, str) else None)
        spreaded[places] = values.to_numpy()
        return spreaded

    is_market = first["order_type"] == "MARKET"
    return Orders(
        seq=spread(first["seq"], 0),
        qty=spread(first["qty"], 0),
        price=spread(first["price"], 0),
        is_buy=spread(first["side"] == "BUY", False),
        is_market=spread(is_market, False),
        rests=spread(~is_market & (first["tif"] != "IOC"), False),
        market=spread(first["market"], ""),
        client=spread(first["client_id"], ""),
        key=spread(first["key_no"], -1),
        once=spread(~first["order_no"].isin(again), False),
    )


def legs(evidence: Evidence) -> Table:
    """Both sides of every fill, one row each: order_no, other_no, qty, price, event_id, is_taker, seq, market."""
    fills = evidence.fills
    common = fills[["qty", "price", "event_id", "seq", "market"]]
    taker = common.assign(order_no=fills["taker_no"], other_no=fills["maker_no"], is_taker=True)
    maker = common.assign(order_no=fills["maker_no"], other_no=fills["taker_no"], is_taker=False)
    return pd.concat([taker, maker], ignore_index=True)


def trade_ids_unique(evidence: Evidence) -> Finding:
    """F1. |{trade ids}| = |{fills}|, and none is empty."""
    fills = evidence.fills
    bad = fills[fills["trade_id"].duplicated() | (fills["trade_id"] == "")]

    def example() -> str:
        row = bad.iloc[0]
        return f"trade id {row['trade_id'] or '(empty)'} at {row['market']} seq {row['seq']} is not the first such"

    def subject() -> Story:
        same = fills[fills["trade_id"] == bad["trade_id"].iloc[0]].head(2)
        return Story(orders=tuple(int(number) for number in same["taker_no"]))

    return by_row(TRADE_IDS, evidence, examined=len(fills), violations=len(bad), example=example, subject=subject)


def pair_trades_once(evidence: Evidence) -> Finding:
    """F2. For each (taker order, maker order): |fills| ≤ 1. One match uses up one of the two: there is no second."""
    pairs = evidence.fills.groupby(["taker_no", "maker_no"], sort=False).size()
    bad = pairs[pairs > 1]

    def names() -> tuple[int, int]:
        taker, maker = bad.index[0]
        return int(taker), int(maker)

    def example() -> str:
        taker, maker = (evidence.order_of(number) for number in names())
        return f"order {taker} took from order {maker} {bad.iloc[0]} times"

    return by_row(
        PAIRS,
        evidence,
        examined=len(pairs),
        violations=len(bad),
        example=example,
        subject=lambda: Story(orders=names()),
    )


def no_double_fill(evidence: Evidence) -> Finding:
    """What one (client, key) asked for was filled more than once. For the orders of each key together:
    Σ filled > quantity, or it took liquidity under two events (an order takes once, when it arrives).

    By key and not by order id, so that a retry under a new order id that traded again counts too.
    """
    orders, sides = accepted_orders(evidence), legs(evidence)
    sides = sides[(sides["order_no"] >= 0)].assign(key=lambda rows: orders.key[rows["order_no"]])
    sides = sides[sides["key"] >= 0]
    wanted = evidence.accepted.drop_duplicates("key_no").set_index("key_no")["qty"]
    filled = sides.groupby("key")["qty"].sum()
    takes = sides[sides["is_taker"]].groupby("key")["event_id"].nunique()
    over = filled.index[filled.to_numpy() > wanted.loc[filled.index].to_numpy()]
    bad = np.union1d(over, takes.index[takes > 1])
    if evidence.fills.empty:
        return DOUBLE.nothing()

    def example(key: int) -> str:
        row = evidence.accepted[evidence.accepted["key_no"] == key].iloc[0]
        verb = "bought" if row["side"] == "BUY" else "sold"
        got = "received" if row["side"] == "BUY" else "gave"
        who = f"order {row['order_id']} (client {row['client_id']})"
        if filled[key] > row["qty"]:
            return f"{who} {verb} {plural(row['qty'], 'lot')} but {got} {filled[key]}"
        return f"{who} of {plural(row['qty'], 'lot')} was matched again after a match, for {filled[key]} in all"

    examined = int((wanted.index >= 0).sum())
    return by_key(DOUBLE, evidence, examined=examined, bad=bad, example=example, tell=over if len(over) else bad)


def no_over_fill(evidence: Evidence) -> Finding:
    """F3. For each order: Σ fills ≤ its quantity, and every fill > 0."""
    orders, sides = accepted_orders(evidence), legs(evidence)
    filled = sides[sides["order_no"] >= 0].groupby("order_no")["qty"].sum()
    numbers = filled.index.to_numpy()
    known = orders.seq[numbers] > 0
    not_positive = sides.loc[sides["qty"] <= 0, "order_no"]
    bad = np.union1d(numbers[known & (filled.to_numpy() > orders.qty[numbers])], not_positive)

    def example(order: int) -> str:
        wanted = plural(orders.qty[order], "lot")
        return f"order {evidence.order_of(order)} asked for {wanted} and has {filled.get(order, 0)}"

    return by_order(OVER, evidence, examined=len(filled), bad=bad, example=example)


def fill_parties_exist(evidence: Evidence) -> Finding:
    """F4. Taker and maker of each fill are orders that the same market accepted, of the clients that the fill names."""
    orders, fills = accepted_orders(evidence), evidence.fills
    wrong = np.zeros(len(fills), dtype=bool)
    for side in ("taker", "maker"):
        numbers = fills[f"{side}_no"].to_numpy()
        wrong |= (numbers < 0) | (orders.seq[numbers] == 0)
        wrong |= orders.market[numbers] != fills["market"].to_numpy()
        wrong |= orders.client[numbers] != fills[f"{side}_client_id"].to_numpy()
    bad = fills[wrong]

    def example() -> str:
        row = bad.iloc[0]
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
        subject=lambda: _trade(bad.iloc[0]),
    )


def _rules(fills: Table, orders: Orders) -> list[tuple[str, np.ndarray]]:
    taker, maker = fills["taker_no"].to_numpy(), fills["maker_no"].to_numpy()
    price, seq = fills["price"].to_numpy(), fills["seq"].to_numpy()
    buys = orders.is_buy[taker]
    once = orders.once[taker] & orders.once[maker]
    within = np.where(buys, price <= orders.price[taker], price >= orders.price[taker])
    return [
        ("the quantity is not positive", fills["qty"].to_numpy() <= 0),
        ("both orders are on the same side", buys == orders.is_buy[maker]),
        ("the fill names the wrong side of its taker", buys != (fills["taker_side"] == "BUY").to_numpy()),
        ("the price is not the maker's", price != orders.price[maker]),
        ("the price is worse than the taker's limit", ~orders.is_market[taker] & ~within),
        ("the maker is an order that cannot rest", ~orders.rests[maker]),
        ("the maker was accepted after the taker", once & (orders.seq[maker] >= orders.seq[taker])),
        ("the trade was sequenced before its taker", seq <= orders.seq[taker]),
        ("both orders are of one client", orders.client[maker] == orders.client[taker]),
    ]


def fills_are_legal(evidence: Evidence) -> Finding:
    """F5. qty > 0; opposite sides; the maker's price, within the taker's limit; the maker is GTC; of two clients;
    seq(maker) < seq(taker) < seq(fill), unless one of them was accepted twice (`one-event-per-order`). Fills whose
    parties do not exist are `fill-parties-exist`.
    """
    orders, fills = accepted_orders(evidence), evidence.fills
    fills = fills[(fills["taker_no"] >= 0) & (fills["maker_no"] >= 0)]
    known = (orders.seq[fills["taker_no"]] > 0) & (orders.seq[fills["maker_no"]] > 0)
    fills = fills[known]
    rules = _rules(fills, orders)
    wrong = np.logical_or.reduce([broken.astype(bool) for _, broken in rules])
    bad = fills[wrong]

    def example() -> str:
        place = int(np.argmax(wrong))
        why = next(words for words, broken in rules if broken[place])
        row = fills.iloc[place]
        return f"trade {row['trade_id']} at {row['market']} seq {row['seq']}: {why}"

    return by_row(
        LEGAL,
        evidence,
        examined=len(fills),
        violations=len(bad),
        example=example,
        subject=lambda: _trade(bad.iloc[0]),
    )


def trades_within_orders(evidence: Evidence) -> Finding:
    """The dashboard's anomaly, trades > orders. Every fill uses up its taker or its maker, and an order is used up
    once, so per market |fills| ≤ |{orders that traded}|. `measured` is the excess.
    """
    fills, sides = evidence.fills, legs(evidence)
    trades = fills.groupby("market").size()
    traded = sides.groupby("market")["order_no"].nunique()
    excess = (trades - traded).clip(lower=0)

    def example() -> str:
        market = excess.idxmax()
        return f"{market} shows {trades[market]:,} trades by {traded[market]:,} orders"

    def subject() -> Story:
        busy = sides.loc[sides["market"] == excess.idxmax(), "order_no"].value_counts()
        return Story(orders=(int(busy.index[0]),))

    return by_row(TRADES, evidence, examined=len(fills), violations=int(excess.sum()), example=example, subject=subject)


def _trade(row: Column) -> Story:
    orders = tuple(int(number) for number in (row["taker_no"], row["maker_no"]) if number >= 0)
    return Story(orders=orders, stretch=stretch(pd.DataFrame([row])))


def _check(wording: Wording, find: Callable[[Evidence], Finding]) -> Check:
    return Check(name=wording.name, find=find, needs=("events",))


CHECKS = (
    _check(DOUBLE, no_double_fill),
    _check(OVER, no_over_fill),
    _check(PAIRS, pair_trades_once),
    _check(TRADE_IDS, trade_ids_unique),
    _check(PARTIES, fill_parties_exist),
    _check(LEGAL, fills_are_legal),
    _check(TRADES, trades_within_orders),
)
