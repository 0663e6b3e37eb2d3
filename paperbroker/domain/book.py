"""One market's order book, built by applying its ledger events.

Only `apply` changes the book, both when the matcher commits and when a replica catches up from the ledger. One piece
of code serves both, so a replica cannot differ from the original.

An entry is identified by the *event* that added it, not by its order id. Intake guarantees one event per order, and a
book that relied on that would hide a violation. Two events of one order are two entries, and both trade.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, replace

from paperbroker.domain.events import LedgerEvent, LedgerType, Reason
from paperbroker.domain.orders import OrderType, Side, TimeInForce
from paperbroker.errors import LedgerCorrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class Resting:
    """One entry of the book; `qty` is its remaining quantity in lots."""

    event_id: str
    order_id: str
    client_id: str
    idempotency_key: str
    side: Side
    tif: str
    price: int
    qty: int
    order_qty: int


class _Ladder:
    """One side: sorted prices, and per price the entries in time order (a dict keeps an entry's position on update)."""

    __slots__ = ("levels", "prices", "side")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.prices: list[int] = []
        self.levels: dict[int, dict[str, Resting]] = {}

    def copy(self) -> _Ladder:
        twin = _Ladder(self.side)
        twin.prices = self.prices.copy()
        twin.levels = {price: level.copy() for price, level in self.levels.items()}
        return twin

    def best_first(self) -> Iterator[int]:
        return reversed(self.prices) if self.side is Side.BUY else iter(self.prices)

    def put(self, entry: Resting) -> None:
        level = self.levels.get(entry.price)
        if level is None:
            level = self.levels[entry.price] = {}
            insort(self.prices, entry.price)
        level[entry.event_id] = entry

    def remove(self, entry: Resting) -> None:
        level = self.levels[entry.price]
        del level[entry.event_id]
        if not level:
            del self.levels[entry.price]
            del self.prices[bisect_left(self.prices, entry.price)]


class Book:
    """The resting orders of one market, and the client of every order that it ever had.

    Memory grows with the number of orders ever accepted: `_owners` tells a cancel of a finished order from a cancel of
    an unknown one, and that answer must follow from the ledger alone.
    """

    __slots__ = ("_fresh_owners", "_ladders", "_owners", "_resting")

    def __init__(self) -> None:
        self._ladders = {side: _Ladder(side) for side in Side}
        self._resting: dict[str, tuple[Resting, ...]] = {}
        self._owners: dict[str, str] = {}
        self._fresh_owners: dict[str, str] = {}

    def draft(self) -> Book:
        """Return a copy to plan commands on. Its cost grows with the resting orders, not with the whole history."""
        twin = Book()
        twin._ladders = {side: ladder.copy() for side, ladder in self._ladders.items()}
        twin._resting = self._resting.copy()
        twin._owners = self._owners
        twin._fresh_owners = self._fresh_owners.copy()
        return twin

    def settle(self) -> None:
        """Make the draft permanent; the book that it was copied from is out of date from then on."""
        self._owners.update(self._fresh_owners)
        self._fresh_owners = {}

    def opposite(self, side: Side) -> Iterator[Resting]:
        """Yield the entries that an order of `side` trades with, in price-time priority."""
        ladder = self._ladders[side.opposite]
        for price in ladder.best_first():
            yield from ladder.levels[price].values()

    def of_order(self, order_id: str) -> tuple[Resting, ...]:
        """Return the order's resting entries, oldest first; more than one only if intake accepted it twice."""
        return self._resting.get(order_id, ())

    def owner(self, order_id: str) -> str | None:
        """Return the client of the order, resting or done; None if the ledger never accepted it."""
        return self._fresh_owners.get(order_id) or self._owners.get(order_id)

    def best(self, side: Side) -> int | None:
        return next(self._ladders[side].best_first(), None)

    def depth(self, side: Side, levels_max: int) -> list[tuple[int, int, int]]:
        """Return (price, lots, entries) of the best levels."""
        ladder = self._ladders[side]
        found = []
        for price in ladder.best_first():
            if len(found) == levels_max:
                break
            entries = ladder.levels[price].values()
            found.append((price, sum(entry.qty for entry in entries), len(entries)))
        return found

    def resting(self) -> Iterator[Resting]:
        for entries in self._resting.values():
            yield from entries

    def apply(self, event: LedgerEvent) -> None:
        """Apply one ledger event. Raises LedgerCorrupt if it cannot follow the events before it."""
        if event.type == LedgerType.ACCEPTED:
            self._accept(event)
        elif event.type == LedgerType.FILL:
            self._fill(event)
        elif event.type == LedgerType.CANCELLED:
            self._cancel(event)

    def _accept(self, event: LedgerEvent) -> None:
        """Add a GTC order at once, before its own fills are applied.

        The book can look crossed only between two events of one command, which are committed together.
        """
        self._fresh_owners[event.order_id] = event.client_id
        if event.order_type == OrderType.MARKET or event.tif == TimeInForce.IOC:
            return
        self._put(
            Resting(
                event_id=event.event_id,
                order_id=event.order_id,
                client_id=event.client_id,
                idempotency_key=event.idempotency_key,
                side=Side(event.side),
                tif=event.tif,
                price=event.price,
                qty=event.qty,
                order_qty=event.qty,
            )
        )

    def _fill(self, event: LedgerEvent) -> None:
        maker = next(self._level(Side(event.taker_side).opposite, event.price), None)
        if maker is None or maker.order_id != event.maker_order_id or maker.qty < event.qty:
            raise LedgerCorrupt(f"{event.market} seq {event.seq}: maker {event.maker_order_id} is not first in line")
        self._shrink(maker, event.qty)
        taker = self._entry(event.taker_order_id, event.event_id)
        if taker is not None:
            self._shrink(taker, event.qty)

    def _cancel(self, event: LedgerEvent) -> None:
        if event.reason == Reason.CLIENT:
            entry = next(iter(self.of_order(event.order_id)), None)
            if entry is None:
                raise LedgerCorrupt(f"{event.market} seq {event.seq}: cancelled order {event.order_id} does not rest")
        else:
            entry = self._entry(event.order_id, event.event_id)
        if entry is not None:
            self._shrink(entry, entry.qty)

    def _level(self, side: Side, price: int) -> Iterator[Resting]:
        return iter(self._ladders[side].levels.get(price, {}).values())

    def _entry(self, order_id: str, event_id: str) -> Resting | None:
        return next((entry for entry in self.of_order(order_id) if entry.event_id == event_id), None)

    def _put(self, entry: Resting) -> None:
        self._ladders[entry.side].put(entry)
        others = tuple(other for other in self.of_order(entry.order_id))
        self._resting[entry.order_id] = (*others, entry)

    def _shrink(self, entry: Resting, qty: int) -> None:
        left = replace(entry, qty=entry.qty - qty)
        others = self.of_order(entry.order_id)
        if left.qty:
            self._ladders[entry.side].put(left)
            entries = tuple(left if other is entry else other for other in others)
        else:
            self._ladders[entry.side].remove(entry)
            entries = tuple(other for other in others if other is not entry)
        if entries:
            self._resting[entry.order_id] = entries
        else:
            del self._resting[entry.order_id]
