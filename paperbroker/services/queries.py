"""Answer queries for an order, a market's book and its trades, with consistent reads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from paperbroker.domain.events import LedgerType
from paperbroker.domain.orders import Side
from paperbroker.errors import NotOwner, UnknownOrder
from paperbroker.services.replica import Replica
from paperbroker.storage.ledger import LedgerTables
from paperbroker.storage.tables import OrderTables

DEPTH_MAX = 100
TRADES_MAX = 500
# A page of trades reads at most this many ledger pages; `next` is the cursor of the next page.
LEDGER_PAGES_MAX = 4
# Ledger pages are sized to find the trades still wanted, within bounds: about every other event is a trade.
EVENTS_A_TRADE = 3
LEDGER_PAGE_MIN, LEDGER_PAGE_MAX = 20, 500

_ORDER_NAMES = (
    "orderId",
    "clientId",
    "idempotencyKey",
    ("symbol", "market"),
    "side",
    ("type", "orderType"),
    "tif",
    "qty",
    "price",
    "status",
    "filledQty",
    ("acceptedAt", "acceptedAtNs"),
)


class Queries:
    """Answer queries. Methods block; they may be called from many threads."""

    def __init__(self, tables: OrderTables, ledger: LedgerTables, markets: Sequence[str]) -> None:
        self._tables = tables
        self._ledger = ledger
        self._replicas = {market: (threading.Lock(), Replica(market)) for market in markets}

    def order(self, order_id: str, client_id: str) -> dict[str, Any]:
        """Return the current state of the order. Raises NotOwner or UnknownOrder."""
        found = self._tables.find_order(order_id)
        if found is None:
            raise UnknownOrder(order_id)
        if found["clientId"] != client_id:
            raise NotOwner(f"{order_id} is not of {client_id}")
        pairs = ((name, name) if isinstance(name, str) else name for name in _ORDER_NAMES)
        return {name: found[stored] for name, stored in pairs}

    def book(self, market: str, depth: int) -> dict[str, Any]:
        """Return the best `depth` levels of each side as [price, lots, orders], at ledger sequence `seq`."""
        lock, replica = self._replicas[market]
        with lock:
            replica.catch_up(self._ledger)
            return {
                "symbol": market,
                "seq": replica.seq,
                "bids": replica.book.depth(Side.BUY, depth),
                "asks": replica.book.depth(Side.SELL, depth),
            }

    def trades(self, market: str, after: int, limit: int) -> dict[str, Any]:
        """Return the first `limit` fills after ledger sequence `after`; `next` is the cursor of the next page."""
        found: list[dict[str, Any]] = []
        for _ in range(LEDGER_PAGES_MAX):
            size = min(LEDGER_PAGE_MAX, max(LEDGER_PAGE_MIN, EVENTS_A_TRADE * (limit - len(found))))
            page = self._ledger.read_after(market, after, size)
            for event in page:
                if len(found) == limit:
                    break
                after = event.seq
                if event.type == LedgerType.FILL:
                    found.append(event.to_record())
            if len(found) == limit or len(page) < size:
                break
        return {"symbol": market, "trades": found, "next": after}
