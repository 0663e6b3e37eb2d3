"""Prove from sums that a market traded by price-time priority, so that most markets need no replay.

Sums of the ledger's own events tell from when to when each order rested in the book. If every trade is with the best
order that rested at that time, and every order stops for the reason that the rules give, then a replay would expect
exactly the events of the ledger. This takes a few sorts of arrays.

A market without a proof need not be wrong: there is no proof for a market with an order accepted twice or a rejected
order. The replay then decides. The rules are those of `reference_book`; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kit.integrity.arrays.columns import INT32_MAX
from kit.integrity.arrays.grouping import counts, lasts, totals
from kit.integrity.evidence.ledger_tables import (
    ACCEPTED,
    ALREADY_DONE,
    AT_MARKET,
    BUYS,
    CANCELLED,
    CLIENT,
    FILL,
    IOC,
    NOT_OWNER,
    REFUSED,
    RESTS,
    SELF_TRADE,
    UNKNOWN_ORDER,
)
from kit.integrity.matching.reference_book import FILLS_MAX

Events = Mapping[str, np.ndarray]  # of one market, sorted by seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Intakes:
    """The market's accepted orders in sequence, one entry of each array for each order."""

    index: np.ndarray  # index of the accepted event
    after: np.ndarray  # index of the next command
    qty: np.ndarray
    price: np.ndarray
    client: np.ndarray
    bits: np.ndarray
    stopped: np.ndarray  # whether its remaining lots were cancelled at once
    left: np.ndarray  # lots that remained after it took liquidity
    made: np.ndarray  # lots that later orders took from it

    @property
    def buys(self) -> np.ndarray:
        return self.bits & BUYS > 0

    @property
    def rests(self) -> np.ndarray:
        return (self.bits & RESTS > 0) & (self.left > 0) & ~self.stopped

    @property
    def rested(self) -> np.ndarray:
        """Lots that came to rest in the book."""
        return np.where(self.rests, self.left, 0)

    def reach(self, takers: np.ndarray, makers: np.ndarray) -> np.ndarray:
        """Return whether the limit of each taker reaches the price of its maker; false for no maker, −1."""
        limit, price, buys = self.price[takers], self.price[makers], self.buys[takers]
        fits = (self.bits[takers] & AT_MARKET > 0) | np.where(buys, price <= limit, price >= limit)
        return fits & (makers >= 0)


def proven(events: Events, orders: int) -> bool:
    """Return whether a replay is proven to expect these events. Orders have numbers below `orders`."""
    kind, reason = events["type"], events["reason"]
    asked = (kind == CANCELLED) & (reason == CLIENT)
    commands = (kind == ACCEPTED) | (kind == REFUSED) | asked
    stops = (kind == CANCELLED) & ((reason == IOC) | (reason == SELF_TRADE))
    indices = np.flatnonzero(kind == ACCEPTED)
    # The last entry is for no order, −1, which must not be accepted.
    numbers = np.full(orders + 1, -1, dtype=np.int64)
    numbers[events["order"][indices]] = np.arange(len(indices))
    if (
        not len(indices)
        or numbers[-1] >= 0
        or (numbers[events["order"][indices]] != np.arange(len(indices))).any()
        or not (commands | stops | (kind == FILL)).all()
        or not _numbers_in_range(events)
        or not _events_follow_commands(events, commands, stops)
    ):
        return False
    fills = np.flatnonzero(kind == FILL)
    taker, maker = numbers[events["order"][fills]], numbers[events["maker"][fills]]
    if (maker < 0).any():
        return False
    intakes = _intakes(events, indices, np.flatnonzero(commands), numbers[events["order"][stops]], taker, maker)
    end = _removals(events, intakes, np.flatnonzero(asked), numbers, fills, maker)
    return (
        end is not None
        and _rests_or_stops(events, intakes, np.flatnonzero(stops), numbers)
        and _refused(events, intakes, np.flatnonzero(kind == REFUSED), numbers, end)
        and _traded(events, intakes, fills, taker, maker)
        and _best_order_traded(events, intakes, end, fills, taker, maker)
    )


def _numbers_in_range(events: Events) -> bool:
    """Check that quantities are positive, and that all numbers are so small that no sum of them overflows."""
    small = all(
        -INT32_MAX <= int(events[name].min()) <= int(events[name].max()) <= INT32_MAX for name in ("qty", "price")
    )
    return small and bool((events["qty"][events["type"] != REFUSED] > 0).all())


def _events_follow_commands(events: Events, commands: np.ndarray, stops: np.ndarray) -> bool:
    """Check that every other event follows the command of its order, and that nothing follows after the order stops."""
    heads = np.maximum.accumulate(np.where(commands, np.arange(len(commands)), -1))
    if heads[0] < 0 or not np.append(commands[1:], True)[stops].all():
        return False
    led = np.flatnonzero(~commands)
    head, order = heads[led], events["order"]
    return bool(((events["type"][head] == ACCEPTED) & (order[head] == order[led])).all())


def _intakes(
    events: Events, indices: np.ndarray, commands: np.ndarray, stops: np.ndarray, taker: np.ndarray, maker: np.ndarray
) -> Intakes:
    size, lots = len(indices), events["qty"][events["type"] == FILL]
    stopped = np.zeros(size, dtype=bool)
    stopped[stops] = True
    qty = events["qty"][indices].astype(np.int64)
    return Intakes(
        index=indices,
        after=np.append(commands, len(events["type"]))[np.searchsorted(commands, indices) + 1],
        qty=qty,
        price=events["price"][indices].astype(np.int64),
        client=events["client"][indices],
        bits=events["bits"][indices],
        stopped=stopped,
        left=qty - totals(taker, lots, size),
        made=totals(maker, lots, size),
    )


def _removals(
    events: Events, intakes: Intakes, asked: np.ndarray, numbers: np.ndarray, fills: np.ndarray, maker: np.ndarray
) -> np.ndarray | None:
    """Return by order the index of the event that removes it from the book, or the end; None if a cancel is wrong.

    A client's cancel removes all lots that nobody took, and nobody takes any of them later.
    """
    last = np.append(fills, -1)[lasts(maker, len(intakes.index))]
    left = intakes.rested - intakes.made
    end = np.where(left > 0, len(events["type"]), last)
    who = numbers[events["order"][asked]]
    right = (who >= 0) & (events["qty"][asked] == left[who]) & (np.maximum(intakes.index, last)[who] < asked)
    if not right.all():
        return None
    end[who] = asked
    return end if (end[who] == asked).all() and (end > intakes.index)[intakes.rests].all() else None


def _rests_or_stops(events: Events, intakes: Intakes, stops: np.ndarray, numbers: np.ndarray) -> bool:
    """Check that the remaining lots of an order either rest in the book or are cancelled as a whole."""
    right = events["qty"][stops] == intakes.left[numbers[events["order"][stops]]]
    return bool(right.all() and (intakes.left >= 0).all() and (intakes.rests | intakes.stopped)[intakes.left > 0].all())


def _refused(events: Events, intakes: Intakes, refused: np.ndarray, numbers: np.ndarray, end: np.ndarray) -> bool:
    """Check that a cancel is refused for the first reason that applies, and not while its order rests."""
    who, reason = numbers[events["order"][refused]], events["reason"][refused]
    known = (who >= 0) & (intakes.index[who] < refused)
    other = intakes.client[who] != events["client"][refused]
    wanted = np.where(~known, UNKNOWN_ORDER, np.where(other, NOT_OWNER, ALREADY_DONE))
    resting = (wanted == ALREADY_DONE) & intakes.rests[who] & (refused < end[who])
    return bool(((reason == wanted) & ~resting).all())


def _traded(events: Events, intakes: Intakes, fills: np.ndarray, taker: np.ndarray, maker: np.ndarray) -> bool:
    """Check that each trade takes all that its maker has left or its taker still asks for, at the maker's price."""
    lots = events["qty"][fills].astype(np.int64)
    had, wanted = intakes.rested[maker] - _before(maker, lots), intakes.qty[taker] - _before(taker, lots)
    right = (lots == np.minimum(had, wanted)) & (events["price"][fills] == intakes.price[maker])
    return bool(right.all() and counts(taker, len(intakes.index)).max() <= FILLS_MAX)


def _before(numbers: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Return for each row the sum of all earlier amounts of its number."""
    order = np.argsort(numbers, kind="stable")
    ordered, sums = numbers[order], np.cumsum(amounts[order]) - amounts[order]
    opening = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]
    found = np.empty_like(sums)
    found[order] = sums - sums[np.maximum.accumulate(np.where(opening, np.arange(len(ordered)), 0))]
    return found


def _best_order_traded(
    events: Events, intakes: Intakes, end: np.ndarray, fills: np.ndarray, taker: np.ndarray, maker: np.ndarray
) -> bool:
    """Check that each trade is with the best order of the other side, within the limit and with another client.

    The remaining lots of an order meet a best order out of its reach, or are cancelled because they meet their own
    client. An order that may rest is not cancelled otherwise.
    """
    if not (intakes.reach(taker, maker) & (intakes.client[taker] != intakes.client[maker])).all():
        return False
    rest = np.flatnonzero(intakes.left > 0)
    # A stop is the last event before the next command, so that the best order stays the same until then.
    at = intakes.after[rest] - intakes.stopped[rest]
    met, served = np.full(len(rest), -1, dtype=np.int64), True
    for buys in (False, True):
        best = _best_orders(intakes, end, buys, len(events["type"]) + 1)
        mine, asked = intakes.buys[taker] != buys, intakes.buys[rest] != buys
        served = served and bool((best[fills[mine]] == maker[mine]).all())
        met[asked] = best[at[asked]]
    reach, own = intakes.reach(rest, met), intakes.client[met] == intakes.client[rest]
    self_trade = intakes.stopped[rest] & (np.append(events["reason"], IOC)[at] == SELF_TRADE)
    may_rest = intakes.bits[rest] & RESTS > 0
    right = np.where(self_trade, reach & own, ~reach & (may_rest != intakes.stopped[rest]))
    return served and bool(right.all())


def _best_orders(intakes: Intakes, end: np.ndarray, buys: bool, size: int) -> np.ndarray:
    """Return, before each event and at the end, the best order of a side by price, then time; −1 for none.

    An order counts from its own event on, because its side is not used before its command is over.
    """
    mine = np.flatnonzero(intakes.rests & (intakes.buys == buys))
    mine = mine[np.argsort(-intakes.price[mine] if buys else intakes.price[mine], kind="stable")]
    return np.append(mine, -1)[_first_covering(intakes.index[mine] + 1, end[mine] + 1, size)]


def _first_covering(begin: np.ndarray, end: np.ndarray, size: int) -> np.ndarray:
    """Return for each position the first interval [begin, end) that covers it, or the number of intervals.

    The number of intervals stands for none. `size` is the number of positions.

    Two blocks with the length of the largest power of two within an interval cover it. From the longest blocks down,
    what covers a block covers both of its halves, so that the number of steps is the number of bits of `size`.
    """
    first = np.full(size, len(begin), dtype=np.int64)
    bits = np.frexp(end - begin)[1] - 1
    for bit in range(int(bits.max(initial=0)), -1, -1):
        some = np.flatnonzero(bits == bit)
        for starts in (begin[some], end[some] - (1 << bit)):
            np.minimum.at(first, starts, some)
        if bit:
            half = 1 << (bit - 1)
            first[half:] = np.minimum(first[half:], first[:-half])
    return first
