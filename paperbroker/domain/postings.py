"""Derive order states and positions from ledger events.

Both are stored beside the ledger: an order's status and filled quantity, and each client's position (lots bought minus
sold, ticks × lots received minus paid).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from paperbroker.domain.book import Book
from paperbroker.domain.events import Command, LedgerEvent, LedgerType
from paperbroker.domain.orders import OrderStatus, Side


@dataclass(slots=True, kw_only=True)
class OrderChange:
    """The change of one order: lots to add to its filled quantity, and its new status."""

    filled_qty: int = 0
    status: OrderStatus = OrderStatus.ACCEPTED


@dataclass(slots=True, kw_only=True)
class Balance:
    """The change of one client's position in the market."""

    qty: int = 0
    cash: int = 0


@dataclass(slots=True)
class Postings:
    """Changes by order id and by client id, over any number of commands of one market."""

    orders: dict[str, OrderChange] = field(default_factory=dict)
    balances: dict[str, Balance] = field(default_factory=dict)

    def post(self, events: Iterable[LedgerEvent], after: Book) -> None:
        """Add one command's events; `after` is the book with them applied."""
        touched = set()
        for event in events:
            if event.type == LedgerType.FILL:
                self._trade(event)
                touched |= {event.taker_order_id, event.maker_order_id}
            elif event.type == LedgerType.ACCEPTED:
                touched.add(event.order_id)
            elif event.type == LedgerType.CANCELLED:
                touched.discard(event.order_id)
                self._order(event.order_id).status = OrderStatus.CANCELLED
            elif event.command == Command.ORDER:
                self._order(event.order_id).status = OrderStatus.REJECTED
        for order_id in touched:
            self._order(order_id).status = _status(after, order_id)

    def _order(self, order_id: str) -> OrderChange:
        return self.orders.setdefault(order_id, OrderChange())

    def _trade(self, event: LedgerEvent) -> None:
        bought, sold = event.taker_client_id, event.maker_client_id
        if event.taker_side == Side.SELL:
            bought, sold = sold, bought
        value = event.qty * event.price
        for client_id, qty, cash in ((bought, event.qty, -value), (sold, -event.qty, value)):
            balance = self.balances.setdefault(client_id, Balance())
            balance.qty += qty
            balance.cash += cash
        for order_id in (event.taker_order_id, event.maker_order_id):
            self._order(order_id).filled_qty += event.qty


def _status(book: Book, order_id: str) -> OrderStatus:
    """Return the status of an order that was not cancelled: filled if it no longer rests."""
    resting = book.of_order(order_id)
    if not resting:
        return OrderStatus.FILLED
    return OrderStatus.PARTIALLY_FILLED if any(e.qty < e.order_qty for e in resting) else OrderStatus.OPEN
