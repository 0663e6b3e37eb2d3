"""Which operation the i-th arrival is: a pure function of plan and i.

Owns the mix, prices and identities; must not know time, sockets or answers. Operation i draws from a small generator
seeded by (seed, i), so that any process, in any language, can tell operation i without telling 0 to i-1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from kit.load.plan import LoadPlan
from kit.model import BOOK, CANCEL, GET_ORDER, ORDER, TRADES

READS = frozenset({GET_ORDER, BOOK, TRADES})

PRICE_MID = 10_000  # ticks
PRICE_SWING = 300  # how far the mid price wanders, each way
PRICE_PERIODS = (4_001, 617)  # operations a wave; the waves have no common period
LIMIT_REACH = 12  # ticks a limit price lies away from the mid, at most, either side
PATIENT_RATIO = 0.1  # of limit orders: so far away that they make the book deep
PATIENT_REACH = 40  # ticks further than the others, at most
QTY_MAX = 20  # lots; a taker meets at most as many makers as it has lots, far below PaperBroker's 30 fills
BLOCK_RATIO = 0.005  # of new orders: MARKET, and so large that it may meet more makers than one command may have
BLOCK_QTY_MIN, BLOCK_QTY_MAX = 100, 600
DESK = "desk"  # the client of the blocks: it has nothing in the book that would stop them
BOOK_DEPTH = 5  # price levels a side that a read of the book asks for
TRADES_LIMITS = (5, 20, 60)  # trades that a read of them asks for: fewer than there are, or all that are new
CANCEL_BACK_MAX = 200  # a cancel looks at most so many operations back for an order to cancel
# Clients number their requests by themselves, so the same key text comes from several of them and means other things.
SHARED_KEY_RATIO = 0.05  # of orders and cancels: under the key text of an operation of another client
SHARED_KEY_BACK = 23  # operations before; always as many, so that no text is taken over twice, by one client least
# What a client takes for two keys is two keys: nobody may fold case, trim or cut them.
ALIKE_KEY_RATIO = 0.05  # of orders: by the client of an order before, under a key that differs in one way from its key
ALIKE_KEY_BACK = 29
LONG_KEY_EVERY = 4  # operations; as long as PaperBroker lets a key be
KEY_LENGTH_MAX = 64

_U32 = 0xFFFFFFFF
# What a draw is for. Part of the generator's seed, so that one decision never shifts another.
CONTENT, RESEND, PROBE, READ_BACK, BACKOFF, PHASE, STREAM, KEY, REUSE, BLOCK, STRANGER, PLACE, PATIENCE, AGAIN = range(
    14
)


class Draws:
    """mulberry32 seeded by (seed, i, purpose): 32 bits of state, the same numbers in Python and JavaScript."""

    __slots__ = ("_state",)

    def __init__(self, seed: int, i: int, purpose: int = CONTENT) -> None:
        # fmix32 of MurmurHash3: neighbouring i must not give neighbouring states, from which mulberry32 would draw
        # the same numbers, shifted by one.
        h = (seed * 0x9E3779B1 ^ purpose * 0x85EBCA77 ^ i * 0xC2B2AE3D ^ (i >> 32) * 0x27D4EB2F) & _U32
        h = ((h ^ (h >> 16)) * 0x85EBCA6B) & _U32
        h = ((h ^ (h >> 13)) * 0xC2B2AE35) & _U32
        self._state = h ^ (h >> 16)

    def unit(self) -> float:
        """A number in [0, 1)."""
        t = self._state = (self._state + 0x6D2B79F5) & _U32
        t = ((t ^ (t >> 15)) * (t | 1)) & _U32
        t ^= (t + (((t ^ (t >> 7)) * (t | 61)) & _U32)) & _U32
        return (t ^ (t >> 14)) / 4294967296

    def below(self, bound: int) -> int:
        """A whole number in [0, bound)."""
        return int(self.unit() * bound)


class Operation(NamedTuple):
    """One thing that a client wants. A tuple: it is made for each arrival, four times as fast as a dataclass.

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
    """Operations by number: buyers and sellers around a mid price that moves."""

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
        """The mid price in ticks of the market at the i-th arrival."""
        phases = self._phases[market]
        slow = math.sin(math.tau * i / PRICE_PERIODS[0] + phases[0])
        fast = math.sin(math.tau * i / PRICE_PERIODS[1] + phases[1])
        return PRICE_MID + round(PRICE_SWING * (0.8 * slow + 0.2 * fast))

    def _order(self, i: int, draws: Draws) -> Operation:
        plan = self._plan
        market = draws.below(len(plan.markets))
        side = "BUY" if draws.unit() < 0.5 else "SELL"
        kind, tif = "LIMIT", "GTC"
        if draws.unit() < plan.market_ratio:
            kind, tif = "MARKET", "IOC"
        elif draws.unit() < plan.ioc_ratio:
            tif = "IOC"
        # A third of the limit prices lies beyond the mid and so trades with what rests there.
        away = draws.below(3 * LIMIT_REACH) // 2 - LIMIT_REACH // 2
        if (patience := Draws(plan.seed, i, PATIENCE)).unit() < PATIENT_RATIO:
            away = LIMIT_REACH + 1 + patience.below(PATIENT_REACH)
        price = self.mid(market, i) + (-away if side == "BUY" else away)
        client_id, key = self._named(i, draws.below(plan.clients))
        qty = 1 + draws.below(QTY_MAX)
        if (block := Draws(plan.seed, i, BLOCK)).unit() < BLOCK_RATIO:
            client_id, key, kind, tif = DESK, self._own_key(i), "MARKET", "IOC"
            qty = BLOCK_QTY_MIN + block.below(BLOCK_QTY_MAX - BLOCK_QTY_MIN + 1)
        return Operation(
            op_id=i,
            op=ORDER,
            client_id=client_id,
            idempotency_key=key,
            order_id=f"{plan.run_id}-o{i}",
            symbol=plan.markets[market],
            side=side,
            type=kind,
            tif=tif,
            qty=qty,
            price=0 if kind == "MARKET" else price,
        )

    def _order_before(self, i: int, draws: Draws) -> Operation | None:
        """The order that cancel `i` is about: a seeded step back, then the nearest order. None: there is none."""
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

    def _named(self, i: int, number: int) -> tuple[str, str]:
        """Client and key of order i, that of client `number` as a rule; (client, key) is unique."""
        if other := self._before(i, ALIKE_KEY_BACK, 1 - ALIKE_KEY_RATIO, 1.0):
            return other.client_id, alike(other.idempotency_key)
        # Twins send the same text as often as any other two do, though there are few of them.
        other = self._before(i, SHARED_KEY_BACK, 0.0, SHARED_KEY_RATIO / 2)
        if other and (twin := other.client_id.swapcase()) in self._clients:
            return twin, other.idempotency_key
        client_id = client_name(number)
        return client_id, self._key(i, client_id)

    def _key(self, i: int, client_id: str) -> str:
        """A text of its own, or at times the one that another client used a moment before."""
        other = self._before(i, SHARED_KEY_BACK, 0.0, SHARED_KEY_RATIO)
        return other.idempotency_key if other and other.client_id != client_id else self._own_key(i)

    def _before(self, i: int, back: int, low: float, high: float) -> Operation | None:
        """The operation so far back, if i draws within the bounds and that one has a key of its own."""
        if i < back or not low <= Draws(self._plan.seed, i, KEY).unit() < high:
            return None
        other = self.operation(i - back)
        return other if other.idempotency_key == self._own_key(other.op_id) else None

    def _own_key(self, i: int) -> str:
        text = f"{self._plan.run_id}-k{i}"
        return text if i % LONG_KEY_EVERY else f"{text}-".ljust(KEY_LENGTH_MAX, "0")

    def _book(self, i: int, draws: Draws) -> Operation:
        plan = self._plan
        symbol = plan.markets[draws.below(len(plan.markets))]
        client_id = client_name(draws.below(plan.clients))
        return Operation(op_id=i, op=BOOK, client_id=client_id, symbol=symbol, depth=BOOK_DEPTH)

    def _trades(self, i: int, draws: Draws) -> Operation:
        """From the ledger's beginning; `places` knows where else a client may go on."""
        plan = self._plan
        symbol = plan.markets[draws.below(len(plan.markets))]
        client_id = client_name(draws.below(plan.clients))
        limit = TRADES_LIMITS[draws.below(len(TRADES_LIMITS))]
        return Operation(op_id=i, op=TRADES, client_id=client_id, symbol=symbol, limit=limit)


def client_name(number: int) -> str:
    """Two and two are called alike but for the case of a letter: it is to be minded in clients as it is in keys."""
    return f"{'cC'[number % 2]}{number // 2:03d}"


def alike(key: str) -> str:
    """Another key that differs from a long one in its last character, from a short one in case."""
    return key[:-1] + "1" if len(key) == KEY_LENGTH_MAX else key.swapcase()
