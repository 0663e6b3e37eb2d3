"""A price-time order book for the replay, written from PaperBroker's contract and independent of its matcher.

Rules: a taker meets the best price first, and the oldest order at one price. A fill is at the maker's price. A taker
that meets its own client stops, and its rest is cancelled (self_trade). The rest of IOC and MARKET orders is cancelled
(ioc). A command of more than `FILLS_MAX` fills is rejected as a whole. Each accepted event is an entry of its own: an
order that was accepted twice rests in the book twice, because that is what the sequenced events say.
"""

from __future__ import annotations

from array import array
from collections import deque
from heapq import heappop, heappush

from kit.integrity.evidence.ledger_tables import (
    ACCEPTED,
    ALREADY_DONE,
    AT_MARKET,
    BUYS,
    CANCELLED,
    CLIENT,
    FILL,
    IOC,
    MATCH_LIMIT,
    NO_REASON,
    NOT_OWNER,
    REFUSED,
    REJECTED,
    RESTS,
    SELF_TRADE,
    UNKNOWN_ORDER,
)

FILLS_MAX = 30
NOBODY = -2  # −1 is a client without a number

# One ledger event or one expected event, in a form that compares: (FILL, taker, maker, price, qty), (CANCELLED, order,
# reason, 0, qty), (ACCEPTED, order, 0, price, qty), (REJECTED, order, reason, price, qty), (REFUSED, order, reason, 0,
# 0). Orders and clients are numbers.
Outcome = tuple[int, int, int, int, int]
# A resting order: [lots left, order, client, price].
Entry = list[int]


class Book:
    """Two sides, each a dictionary price → queue and a heap of prices.

    Cancelled entries, empty queues and their prices are removed only when a taker meets them, and a price may be in its
    heap twice. So the cost of a command grows with its trades, and memory with what rests.
    """

    __slots__ = ("entries", "levels", "owners", "prices")

    def __init__(self, orders: int) -> None:
        """For orders numbered below `orders`, and −1 for no order."""
        # Index 0 holds sellers, 1 buyers. Buyers' prices are negated in the heap, so that the best comes first.
        self.levels: tuple[dict[int, deque[Entry]], dict[int, deque[Entry]]] = ({}, {})
        self.prices: tuple[list[int], list[int]] = ([], [])
        # By order its entries in the book: one for each time it was accepted.
        self.entries: dict[int, tuple[Entry, ...]] = {}
        self.owners = array("i", [NOBODY]) * (orders + 1)

    def order(self, order: int, client: int, bits: int, qty: int, price: int) -> list[Outcome]:
        """Apply a sequenced order. Returns the events that must follow from it."""
        buys = bits & BUYS
        fills: list[Outcome] = [(ACCEPTED, order, 0, price, qty)]
        # Skip matching if nothing rests on the other side.
        left, stopped = qty, NO_REASON
        if self.prices[1 - buys]:
            left, stopped = self._take(order, client, buys, qty, None if bits & AT_MARKET else price, fills)
        if stopped == MATCH_LIMIT:
            return [(REJECTED, order, MATCH_LIMIT, price, qty)]
        self.owners[order] = client
        if not left:
            return fills
        if stopped == SELF_TRADE:
            fills.append((CANCELLED, order, SELF_TRADE, 0, left))
        elif bits & RESTS:
            self._rest(order, client, buys, price, left)
        else:
            fills.append((CANCELLED, order, IOC, 0, left))
        return fills

    def cancel(self, order: int) -> list[Outcome]:
        """Cancel all entries of the order. Returns the events that must follow, the oldest entry first."""
        cancelled = self._resting(order)
        for entry in self.entries.pop(order, ()):
            entry[0] = 0
        return cancelled

    def refuse(self, order: int, client: int) -> list[Outcome]:
        """Return the events that must follow a cancel that the ledger refused."""
        owner = self.owners[order]
        if owner == NOBODY:
            reason = UNKNOWN_ORDER
        elif owner != client:
            reason = NOT_OWNER
        elif resting := self._resting(order):
            return resting
        else:
            reason = ALREADY_DONE
        return [(REFUSED, order, reason, 0, 0)]

    def best_orders(self, depth: int) -> list[int]:
        """Return the first `depth` orders of either side, in priority."""
        found = []
        for levels in self.levels:
            entries = (entry for rank in sorted(levels) for entry in levels[rank] if entry[0])
            found += [entry[1] for entry, _ in zip(entries, range(depth), strict=False)]
        return found

    def _resting(self, order: int) -> list[Outcome]:
        """Return the cancelled events of the order's entries; empty if it does not rest."""
        return [(CANCELLED, order, CLIENT, 0, entry[0]) for entry in self.entries.get(order, ()) if entry[0]]

    def _rest(self, order: int, client: int, buys: int, price: int, lots: int) -> None:
        entry = [lots, order, client, price]
        rank = -price if buys else price
        levels = self.levels[buys]
        level = levels.get(rank)
        if level is None:
            level = levels[rank] = deque()
        if not level:
            heappush(self.prices[buys], rank)
        level.append(entry)
        held = self.entries.get(order)
        self.entries[order] = (entry,) if held is None else (*held, entry)

    def _take(
        self, order: int, client: int, buys: int, qty: int, limit: int | None, fills: list[Outcome]
    ) -> tuple[int, int]:
        """Match a taker and add its `fills`. Returns the lots left and why it stopped. At MATCH_LIMIT all is undone."""
        levels, prices = self.levels[1 - buys], self.prices[1 - buys]
        worst = None if limit is None else (limit if buys else -limit)
        met: list[Entry] = []
        while qty and prices and (worst is None or prices[0] <= worst):
            level = levels[prices[0]]
            while qty and level:
                maker = level[0]
                lots, known, owner, price = maker
                if not lots:
                    level.popleft()  # it was cancelled
                    continue
                if owner == client:
                    return qty, SELF_TRADE
                if len(met) == FILLS_MAX:
                    self._undo(fills, met, 1 - buys)
                    return qty, MATCH_LIMIT
                met.append(maker)
                if lots > qty:
                    maker[0] = lots - qty
                    lots = qty
                else:
                    maker[0] = 0
                    level.popleft()
                    self._forget(known)
                qty -= lots
                fills.append((FILL, order, known, price, lots))
            if not level:
                heappop(prices)
        return qty, NO_REASON

    def _forget(self, order: int) -> None:
        """Forget the order if its last entry was filled."""
        held = self.entries[order]
        if len(held) == 1 or not any(entry[0] for entry in held):
            del self.entries[order]

    def _undo(self, fills: list[Outcome], met: list[Entry], buys: int) -> None:
        """Give the makers their lots back at the head of their queues, the last one first."""
        for maker in reversed(met):
            maker[0] += fills.pop()[4]
            rank = -maker[3] if buys else maker[3]
            level = self.levels[buys][rank]
            if not level:
                heappush(self.prices[buys], rank)
            if not level or level[0] is not maker:
                level.appendleft(maker)
                # The order may have been forgotten when this entry was filled.
                held = self.entries.get(maker[1], ())
                if not any(entry is maker for entry in held):
                    self.entries[maker[1]] = (maker, *held)
