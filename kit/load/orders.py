"""Generate the i-th operation of a load as a pure function of the plan and i.

Operation i draws from a small generator seeded by (seed, i), so it can be computed without operations 0 to i-1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from kit.load.identifiers import (
    client_name,
    moved_boundary,
    moved_character,
    own_key,
    own_order_id,
    similar,
)
from kit.load.plan import LoadPlan
from kit.model import BOOK, CANCEL, GET_ORDER, ORDER, TRADES

READS = frozenset({GET_ORDER, BOOK, TRADES})

# Every other market trades at prices and in lots whose products are above 2**53, so that a float cannot hold them all.
PRICE_MIDS = (10_000, 23_456_010_000)  # ticks
LOT_SIZES = (1, 50_021)
PRICE_SWING = 300  # ticks that the mid price moves, each way
PRICE_PERIODS = (4_001, 617)  # operations in a wave; coprime, so that the sum of the waves does not repeat early
LIMIT_REACH = 12  # largest distance of a limit price from the mid in ticks, on either side
PASSIVE_RATIO = 0.1  # of limit orders, which are far from the mid and make the book deep
PASSIVE_REACH = 40  # largest additional distance of a passive order in ticks
# In LOT_SIZES. A taker meets at most as many makers as it has of them, far below PaperBroker's 30 fills a command.
QTY_MAX = 20
LARGE_RATIO = 0.005  # of new orders, which are MARKET and may meet more makers than the 30 fills of one command
LARGE_QTY_MIN, LARGE_QTY_MAX = 100, 600  # in LOT_SIZES
# These clients have no resting orders, so self-trade prevention never stops their large orders. They are several, so
# that the balance of none exceeds 64 bits.
LARGE_ORDER_CLIENTS = tuple(f"large{number}" for number in range(16))
BOOK_DEPTHS = (1, 5, 20, 100)  # price levels a side; PaperBroker accepts 1 to 100
TRADES_LIMITS = (5, 20, 60)  # page limits: some are below the number of new trades, some above
CANCEL_BACK_MAX = 200  # operations that a cancel looks back for an order to cancel
# Clients choose their keys independently, so the same key text from two clients means two different requests.
SHARED_KEY_RATIO = 0.05  # of orders and cancels, which take the key text of an earlier operation of another client
SHARED_KEY_BACK = 23  # operations back; a constant, so that no key text is taken over twice
# Keys that differ in any way are different keys: PaperBroker must not fold case, trim or cut them.
SIMILAR_KEY_RATIO = 0.05  # of orders, which have the client of an earlier order and a key that almost equals its key
SIMILAR_KEY_BACK = 29
# Joined, client and key of these equal those of an earlier operation, but neither the client nor the key does.
JOINED_KEY_RATIO = 0.04  # of orders
JOINED_KEY_BACK = 31
SIMILAR_ORDER_ID_RATIO = 0.05  # of orders, whose id almost equals that of an earlier order
SIMILAR_ORDER_ID_BACK = 37

_U32 = 0xFFFFFFFF
# The purpose of a draw. It is part of the generator's seed, so that one decision never shifts another.
CONTENT, RESEND, RESUBMIT, READ_BACK, BACKOFF, PHASE, STREAM = range(7)
KEY, REUSE, LARGE, UNAUTHORIZED, CURSOR, PASSIVE, READ_AGAIN = range(7, 14)
ORDER_ID, TAKEN, LATE, DEPTH, POSTPONED, CONTESTED, ASKED_FIRST, PAST = range(14, 22)


class Draws:
    """Draw numbers by mulberry32, a generator with 32 bits of state, seeded by (seed, i, purpose)."""

    __slots__ = ("_state",)

    def __init__(self, seed: int, i: int, purpose: int = CONTENT) -> None:
        # fmix32 of MurmurHash3. Without it neighbouring i would give neighbouring states, from which mulberry32 draws
        # the same numbers, shifted by one.
        h = (seed * 0x9E3779B1 ^ purpose * 0x85EBCA77 ^ i * 0xC2B2AE3D ^ (i >> 32) * 0x27D4EB2F) & _U32
        h = ((h ^ (h >> 16)) * 0x85EBCA6B) & _U32
        h = ((h ^ (h >> 13)) * 0xC2B2AE35) & _U32
        self._state = h ^ (h >> 16)

    def unit(self) -> float:
        """Draw a number in [0, 1)."""
        t = self._state = (self._state + 0x6D2B79F5) & _U32
        t = ((t ^ (t >> 15)) * (t | 1)) & _U32
        t ^= (t + (((t ^ (t >> 7)) * (t | 61)) & _U32)) & _U32
        return (t ^ (t >> 14)) / 4294967296

    def below(self, bound: int) -> int:
        """Draw a whole number in [0, bound)."""
        return int(self.unit() * bound)


class Operation(NamedTuple):
    """One request that a client wants to make. A tuple, because it is created four times as fast as a dataclass.

    `order_id` of a cancel or a read is the order concerned. The other fields are the columns of
    `kit.model.ATTEMPT_COLUMNS` with the same names; those that an operation lacks hold "" or 0.
    """

    op_id: int
    op: str
    client_id: str
    idempotency_key: str = ""
    order_id: str = ""
    symbol: str = ""
    side: str = ""
    type: str = ""
    tif: str = ""
    qty: int = 0
    price: int = 0
    depth: int = 0
    limit: int = 0
    after: int = 0


class OrderFlow:
    """Generate operations by number: buyers and sellers around a moving mid price."""

    __slots__ = ("_book_below", "_cancel_below", "_clients", "_phases", "_plan", "_trades_below")

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._cancel_below = plan.cancel_ratio
        self._book_below = plan.cancel_ratio + plan.book_ratio
        self._clients = frozenset(client_name(number) for number in range(plan.clients))
        self._trades_below = self._book_below + plan.trades_ratio
        self._phases = [
            [Draws(plan.seed, market * 16 + wave, PHASE).unit() * math.tau for wave in range(2)]
            for market in range(len(plan.markets))
        ]

    def operation(self, i: int) -> Operation:
        draws = Draws(self._plan.seed, i)
        share = draws.unit()
        if share < self._cancel_below and (target := self._order_before(i, draws)):
            return self._cancel(i, target)
        if self._cancel_below <= share < self._book_below:
            return self._book(i, draws)
        if self._book_below <= share < self._trades_below:
            return self._trades(i, draws)
        return self._order(i, draws)

    def mid(self, market: int, i: int) -> int:
        """Return the mid price of the market at the i-th arrival, in ticks."""
        phases = self._phases[market]
        slow = math.sin(math.tau * i / PRICE_PERIODS[0] + phases[0])
        fast = math.sin(math.tau * i / PRICE_PERIODS[1] + phases[1])
        return PRICE_MIDS[market % 2] + round(PRICE_SWING * (0.8 * slow + 0.2 * fast))

    def _order(self, i: int, draws: Draws) -> Operation:
        plan = self._plan
        market = draws.below(len(plan.markets))
        side = "BUY" if draws.unit() < 0.5 else "SELL"
        kind, tif = "LIMIT", "GTC"
        if draws.unit() < plan.market_ratio:
            kind, tif = "MARKET", "IOC"
        elif draws.unit() < plan.ioc_ratio:
            tif = "IOC"
        # A third of the limit prices lies beyond the mid, so that these orders trade with orders in the book.
        away = draws.below(3 * LIMIT_REACH) // 2 - LIMIT_REACH // 2
        if (passive := Draws(plan.seed, i, PASSIVE)).unit() < PASSIVE_RATIO:
            away = LIMIT_REACH + 1 + passive.below(PASSIVE_REACH)
        price = self.mid(market, i) + (-away if side == "BUY" else away)
        client_id, key = self._client_and_key(i, draws.below(plan.clients))
        qty = 1 + draws.below(QTY_MAX)
        if (large := Draws(plan.seed, i, LARGE)).unit() < LARGE_RATIO:
            client_id, key, kind, tif = LARGE_ORDER_CLIENTS[i % 16], self._own_key(i), "MARKET", "IOC"
            qty = LARGE_QTY_MIN + large.below(LARGE_QTY_MAX - LARGE_QTY_MIN + 1)
        return Operation(
            op_id=i,
            op=ORDER,
            client_id=client_id,
            idempotency_key=key,
            order_id=self._order_id(i),
            symbol=plan.markets[market],
            side=side,
            type=kind,
            tif=tif,
            qty=qty * LOT_SIZES[market % 2],
            price=0 if kind == "MARKET" else price,
        )

    def _order_before(self, i: int, draws: Draws) -> Operation | None:
        """Find the order that cancel `i` names: a seeded step back, then the nearest order; None if there is none."""
        start = i - 1 - draws.below(CANCEL_BACK_MAX)
        for j in range(start, max(-1, start - CANCEL_BACK_MAX), -1):
            if Draws(self._plan.seed, j).unit() >= self._trades_below:
                return self.operation(j)
        return None

    def _cancel(self, i: int, target: Operation) -> Operation:
        return Operation(
            op_id=i,
            op=CANCEL,
            client_id=target.client_id,
            idempotency_key=self._key(i, target.client_id),
            order_id=target.order_id,
            symbol=target.symbol,
        )

    def _client_and_key(self, i: int, number: int) -> tuple[str, str]:
        """Choose client and key of order i, usually those of client `number`; the pair is unique."""
        if other := self._operation_before(i, SIMILAR_KEY_BACK, 1 - SIMILAR_KEY_RATIO, 1.0):
            return other.client_id, similar(other.idempotency_key)
        if other := self._operation_before(i, JOINED_KEY_BACK, 0.5, 0.5 + JOINED_KEY_RATIO):
            if i % 2:
                return moved_boundary(other.client_id, other.idempotency_key, self._plan.run_id)
            return moved_character(other.client_id, other.idempotency_key)
        # Half of the shared keys go to a client whose name differs in case only. Chance would pair such clients rarely.
        other = self._operation_before(i, SHARED_KEY_BACK, 0.0, SHARED_KEY_RATIO / 2)
        if other and (client_id := other.client_id.swapcase()) in self._clients:
            return client_id, other.idempotency_key
        client_id = client_name(number)
        return client_id, self._key(i, client_id)

    def _order_id(self, i: int) -> str:
        """Choose the id of order i, at times one that almost equals the id of an earlier operation."""
        run_id, back = self._plan.run_id, i - SIMILAR_ORDER_ID_BACK
        if back >= 0 and Draws(self._plan.seed, i, ORDER_ID).unit() < SIMILAR_ORDER_ID_RATIO:
            return similar(own_order_id(run_id, back))
        return own_order_id(run_id, i)

    def _key(self, i: int, client_id: str) -> str:
        """Return a new key text, or at times the one that another client used shortly before."""
        other = self._operation_before(i, SHARED_KEY_BACK, 0.0, SHARED_KEY_RATIO)
        return other.idempotency_key if other and other.client_id != client_id else self._own_key(i)

    def _operation_before(self, i: int, back: int, low: float, high: float) -> Operation | None:
        """Return operation i - `back` if i draws within [low, high) and that operation has a new key text."""
        if i < back or not low <= Draws(self._plan.seed, i, KEY).unit() < high:
            return None
        other = self.operation(i - back)
        return other if other.idempotency_key == self._own_key(other.op_id) else None

    def _own_key(self, i: int) -> str:
        return own_key(self._plan.run_id, i)

    def _book(self, i: int, draws: Draws) -> Operation:
        plan = self._plan
        symbol = plan.markets[draws.below(len(plan.markets))]
        client_id = client_name(draws.below(plan.clients))
        depth = BOOK_DEPTHS[Draws(plan.seed, i, DEPTH).below(len(BOOK_DEPTHS))]
        return Operation(op_id=i, op=BOOK, client_id=client_id, symbol=symbol, depth=depth)

    def _trades(self, i: int, draws: Draws) -> Operation:
        """Read from the beginning of the ledger. `LedgerCursors` moves most reads further on."""
        plan = self._plan
        symbol = plan.markets[draws.below(len(plan.markets))]
        client_id = client_name(draws.below(plan.clients))
        limit = TRADES_LIMITS[draws.below(len(TRADES_LIMITS))]
        return Operation(op_id=i, op=TRADES, client_id=client_id, symbol=symbol, limit=limit)
