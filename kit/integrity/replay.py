"""A price-time matching engine of our own, run over the sequenced commands: only it finds wrong priority and fills
that should have happened. Written from PaperBroker's contract and never from its matcher.

Rules: a taker meets the best price first and at one price the oldest; a fill is at the maker's price. A taker that
meets its own client stops and its rest is cancelled (self_trade); the rest of IOC and MARKET is cancelled (ioc). A
command of more than `FILLS_MAX` fills is rejected whole. Each accepted event is an entry of its own: an order that
was let in twice stands in the book twice, because that is what the sequenced events say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
import pandas as pd

from kit.integrity.answer import Check, Wording, by_row
from kit.integrity.counterexample import Story, event_words
from kit.integrity.evidence import Evidence, Table
from kit.integrity.sequence import AROUND
from kit.model import Finding

FILLS_MAX = 30
ACCEPTED, REJECTED, FILL, CANCELLED, REFUSED, OTHER = range(6)  # REJECTED is an order, REFUSED a cancel
CLIENT, IOC, SELF_TRADE, UNKNOWN_ORDER, ALREADY_DONE, NOT_OWNER, MATCH_LIMIT, NO_REASON = range(8)
REASONS = {
    "client": CLIENT,
    "ioc": IOC,
    "self_trade": SELF_TRADE,
    "UnknownOrder": UNKNOWN_ORDER,
    "AlreadyDone": ALREADY_DONE,
    "NotOwner": NOT_OWNER,
    "MatchLimitExceeded": MATCH_LIMIT,
}
REASON_NAMES = {number: name for name, number in REASONS.items()}

REPLAY = Wording(
    name="price-time-replay",
    noun="markets",
    hold="traded exactly as a replay of their sequenced commands",
    broke="traded differently from a replay of their sequenced commands",
)

# One ledger event or one expectation, comparable: (FILL, taker, maker, price, qty), (CANCELLED, order, reason, 0, qty),
# (ACCEPTED or REJECTED, order, 0, 0, 0). Orders and clients are numbers.
Outcome = tuple[int, int, int, int, int]
# What rests: [lots left, order, client, price].
Entry = list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first event of a market that the model did not expect (`place` in its events), or misses at its end."""

    place: int
    expected: Outcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """One market's events in columns of plain ints, as the loop wants them."""

    outcomes: Sequence[Outcome]
    kinds: Sequence[int]
    orders: Sequence[int]
    clients: Sequence[int]
    is_buy: Sequence[bool]
    is_market: Sequence[bool]
    rests: Sequence[bool]
    qty: Sequence[int]
    price: Sequence[int]
    reasons: Sequence[int]


class Book:
    """Two sides of price → queue, each with a heap of prices.

    An entry that is used up, a queue that ran empty and a price that has no entries stay until they are met at the
    front; a price may stand in its heap twice. So a command costs what it trades, not what rests.
    """

    __slots__ = ("entries", "levels", "owners", "prices")

    def __init__(self) -> None:
        # Index 0 are sellers, 1 buyers. A buyer's price is negated in the heap, so that the best comes first.
        self.levels: tuple[dict[int, deque[Entry]], dict[int, deque[Entry]]] = ({}, {})
        self.prices: tuple[list[int], list[int]] = ([], [])
        # By order, what it put into the book: one entry, or as many as it was let in.
        self.entries: dict[int, tuple[Entry, ...]] = {}
        self.owners: dict[int, int] = {}

    def rest(self, order: int, client: int, buys: bool, price: int, lots: int) -> None:
        entry = [lots, order, client, price]
        rank = -price if buys else price
        levels = self.levels[buys]
        level = levels.get(rank)
        if level is None:
            level = levels[rank] = deque()
        if not level:
            heappush(self.prices[buys], rank)
        level.append(entry)
        self.entries[order] = (*self.entries.get(order, ()), entry)

    def cancel(self, order: int) -> list[Outcome]:
        """Take all entries of the order off the book, the oldest first."""
        gone = self.resting(order)
        for entry in self.entries.get(order, ()):
            entry[0] = 0
        return gone

    def resting(self, order: int) -> list[Outcome]:
        """The cancels that would take the order off the book; empty if it does not rest."""
        return [(CANCELLED, order, CLIENT, 0, entry[0]) for entry in self.entries.get(order, ()) if entry[0]]

    def take(
        self, order: int, client: int, buys: bool, qty: int, limit: int | None, fills: list[Outcome]
    ) -> tuple[int, int]:
        """Match a taker and add its `fills`; (lots left, why it stopped). At MATCH_LIMIT all is undone."""
        levels, prices = self.levels[not buys], self.prices[not buys]
        worst = None if limit is None else (limit if buys else -limit)
        met: list[Entry] = []
        while qty and prices:
            level = levels[prices[0]]
            while level and not level[0][0]:
                level.popleft()
            if not level:
                heappop(prices)
                continue
            if worst is not None and prices[0] > worst:
                break
            maker = level[0]
            if maker[2] == client:
                return qty, SELF_TRADE
            if len(met) == FILLS_MAX:
                self._undo(fills, met, not buys)
                return qty, MATCH_LIMIT
            lots = maker[0] if maker[0] < qty else qty
            maker[0] -= lots
            qty -= lots
            fills.append((FILL, order, maker[1], maker[3], lots))
            met.append(maker)
        return qty, NO_REASON

    def _undo(self, fills: list[Outcome], met: list[Entry], buys: bool) -> None:
        """Give the makers their lots back, in front of their queues, the last met first."""
        for maker in reversed(met):
            maker[0] += fills.pop()[4]
            rank = -maker[3] if buys else maker[3]
            level = self.levels[buys][rank]
            if not level:
                heappush(self.prices[buys], rank)
            if not level or level[0] is not maker:
                level.appendleft(maker)


def replay_market(events: Events) -> Divergence | None:
    """Run the model over one market's events in sequence; the first event that it did not expect, if any."""
    book, outcomes, kinds = Book(), events.outcomes, events.kinds
    place, end = 0, len(outcomes)
    while place < end:
        kind = kinds[place]
        if kind <= REJECTED:  # an order, let in or not
            expected = _order(book, events, place)
        elif kind == CANCELLED and events.reasons[place] == CLIENT:
            expected = book.cancel(events.orders[place])
        elif kind == REFUSED:
            expected = _refused_cancel(book, events, place)
        else:
            expected = []  # no command starts with a fill, nor with a cancel that no client asked for
        count = len(expected)
        if not count or expected != outcomes[place : place + count]:
            return _first_difference(place, expected, outcomes)
        place += count
    return None


def _order(book: Book, events: Events, place: int) -> list[Outcome]:
    order, client, buys = events.orders[place], events.clients[place], events.is_buy[place]
    price = events.price[place]
    outcomes: list[Outcome] = [(ACCEPTED, order, 0, 0, 0)]
    limit = None if events.is_market[place] else price
    left, stopped = book.take(order, client, buys, events.qty[place], limit, outcomes)
    if stopped == MATCH_LIMIT:
        return [(REJECTED, order, MATCH_LIMIT, 0, 0)]
    book.owners[order] = client
    if not left:
        return outcomes
    if stopped == SELF_TRADE:
        outcomes.append((CANCELLED, order, SELF_TRADE, 0, left))
    elif events.rests[place]:
        book.rest(order, client, buys, price, left)
    else:
        outcomes.append((CANCELLED, order, IOC, 0, left))
    return outcomes


def _refused_cancel(book: Book, events: Events, place: int) -> list[Outcome]:
    order = events.orders[place]
    owner = book.owners.get(order)
    if owner is None:
        reason = UNKNOWN_ORDER
    elif owner != events.clients[place]:
        reason = NOT_OWNER
    elif resting := book.resting(order):
        return resting
    else:
        reason = ALREADY_DONE
    return [(REFUSED, order, reason, 0, 0)]


def _first_difference(place: int, expected: list[Outcome], outcomes: Sequence[Outcome]) -> Divergence:
    for offset, wanted in enumerate(expected):
        at = place + offset
        if at >= len(outcomes) or outcomes[at] != wanted:
            return Divergence(place=at, expected=wanted)
    return Divergence(place=place, expected=None)


def price_time_replay(evidence: Evidence) -> Finding:
    """R1. Per market, the fills and cancels of each command equal the model's, in order; the first divergence stops
    the replay of its market. `measured` is the number of markets that diverge.
    """
    markets = evidence.events.groupby("market", sort=True)
    found = [(rows, replay_market(columns(rows))) for _, rows in markets]
    bad = [(rows, one) for rows, one in found if one is not None]

    def example() -> str:
        rows, divergence = bad[0]
        return _words(evidence, rows, divergence)

    def subject() -> Story:
        rows, divergence = bad[0]
        return _told(evidence, rows, divergence)

    return by_row(REPLAY, evidence, examined=len(found), violations=len(bad), example=example, subject=subject)


def columns(rows: Table) -> Events:
    """One market's events as the loop wants them; all that can be worked out by column is."""
    kind = _kinds(rows)
    reason = rows["reason"].map(REASONS).fillna(NO_REASON).astype("int64").to_numpy()
    fill, off, order = kind == FILL, kind == CANCELLED, rows["order_no"].to_numpy()
    refused = (kind == REFUSED) | (kind == REJECTED)
    first = np.where(fill, rows["taker_no"], order)
    second = np.where(fill, rows["maker_no"], np.where(off | refused, reason, 0))
    third = np.where(fill, rows["price"], 0)
    fourth = np.where(fill | off, rows["qty"], 0)
    market = (rows["order_type"] == "MARKET").to_numpy()
    return Events(
        outcomes=list(zip(*(part.tolist() for part in (kind, first, second, third, fourth)), strict=True)),
        kinds=kind.tolist(),
        orders=order.tolist(),
        clients=pd.factorize(rows["client_id"])[0].tolist(),
        is_buy=(rows["side"] == "BUY").tolist(),
        is_market=market.tolist(),
        rests=(~market & (rows["tif"] != "IOC").to_numpy()).tolist(),
        qty=rows["qty"].tolist(),
        price=rows["price"].tolist(),
        reasons=reason.tolist(),
    )


def _kinds(rows: Table) -> np.ndarray:
    names = {"accepted": ACCEPTED, "rejected": REJECTED, "fill": FILL, "cancelled": CANCELLED}
    kinds = rows["type"].map(names).fillna(OTHER).astype("int64").to_numpy()
    return np.where((kinds == REJECTED) & (rows["command"] == "cancel").to_numpy(), REFUSED, kinds)


def _words(evidence: Evidence, rows: Table, divergence: Divergence) -> str:
    market = rows["market"].iloc[0]
    if divergence.place >= len(rows):
        return f"{market} ends after seq {rows['seq'].iloc[-1]}, but then {_wanted(evidence, divergence)} must follow"
    row = rows.iloc[divergence.place].to_dict()
    return f"at {market} seq {row['seq']} {_wanted(evidence, divergence)} must follow, but it says: {event_words(row)}"


def _wanted(evidence: Evidence, divergence: Divergence) -> str:
    if divergence.expected is None:
        return "a new command"
    kind, first, second, price, qty = divergence.expected
    order = evidence.order_of(first)
    if kind == FILL:
        return f"a trade of order {order} with order {evidence.order_of(second)}, {qty} at {price},"
    if kind == CANCELLED:
        return f"the cancel of {qty} lots of order {order} ({REASON_NAMES[second]})"
    if kind == ACCEPTED:
        return f"order {order} accepted"
    what = "the refusal of a cancel" if kind == REFUSED else "the rejection"
    return f"{what} of order {order} ({REASON_NAMES[second]})"


def _told(evidence: Evidence, rows: Table, divergence: Divergence) -> Story:
    place = min(divergence.place, len(rows) - 1)
    seq = int(rows["seq"].iloc[place])
    orders = {int(rows[name].iloc[place]) for name in ("order_no", "taker_no", "maker_no")}
    if divergence.expected is not None:
        orders.add(divergence.expected[1])
        if divergence.expected[0] == FILL:
            orders.add(divergence.expected[2])
    known = tuple(sorted(number for number in orders if number >= 0))
    return Story(orders=known, stretch=(str(rows["market"].iloc[place]), seq - AROUND, seq))


CHECKS = (Check(name=REPLAY.name, find=price_time_replay, needs=("events",)),)
