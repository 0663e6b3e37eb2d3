"""Simulate a small correct exchange (intake, queue, matcher, ledger) for histories that checks must accept.

Matching sorts all orders each time: an implementation independent of PaperBroker's and of the replay's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from kit.model import LEDGER_EVENT_COLUMNS
from tests.histories.clock import Clock
from tests.histories.subscribers import Subscribers
from tests.histories.tables import Row, blank, streamed

MARKETS = ("ACME", "BOLT")
PAGE_EVENTS_MAX = 30  # of the ledger, for one page of trades


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """The content of an order."""

    client: str
    key: str
    order_id: str
    market: str
    side: str
    qty: int
    price: int
    type: str = "LIMIT"
    tif: str = "GTC"


@dataclass(slots=True, kw_only=True)
class Resting:
    order_id: str
    client: str
    side: str
    price: int
    left: int
    event_id: str
    arrival: int


@dataclass(slots=True)
class Exchange:
    """`without_idempotency` is the classic bad change: a known key is accepted again, under a new event id."""

    without_idempotency: bool = False
    clock: Clock = field(default_factory=Clock)
    events: list[Row] = field(default_factory=list)
    keys: dict[tuple[str, str], tuple[OrderRequest, str]] = field(default_factory=dict)
    stored: dict[str, Row] = field(default_factory=dict)
    queue: list[Row] = field(default_factory=list)
    book: dict[str, list[Resting]] = field(default_factory=lambda: {market: [] for market in MARKETS})
    balance: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    seqs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MARKETS, 0))
    made: int = 0
    subscribers: Subscribers = field(init=False)

    def __post_init__(self) -> None:
        self.subscribers = Subscribers(self.clock, self.events)

    def number(self) -> int:
        self.made += 1
        return self.made

    # Intake and matcher

    def apply(self, request: OrderRequest) -> tuple[int, str]:
        known = self.keys.get((request.client, request.key))
        if known is not None:
            if self.without_idempotency:
                self._enqueue(known[0])
            return 200, known[1]
        self.clock.tick(0.1)
        body = {
            "orderId": request.order_id,
            "clientId": request.client,
            "idempotencyKey": request.key,
            "symbol": request.market,
        }
        body |= {"side": request.side, "type": request.type, "tif": request.tif, "qty": request.qty}
        body |= {"status": "ACCEPTED", "acceptedAt": self.clock.now} | (
            {"price": request.price} if request.price else {}
        )
        self.keys[request.client, request.key] = (request, json.dumps(body))
        self.stored[request.order_id] = {
            "order_id": request.order_id,
            "client_id": request.client,
            "idempotency_key": request.key,
            "market": request.market,
            "side": request.side,
            "order_type": request.type,
            "tif": request.tif,
            "qty": request.qty,
            "price": request.price,
            "filled_qty": 0,
            "status": "ACCEPTED",
            "accepted_ns": self.clock.now,
        }
        self._enqueue(request)
        return 201, self.keys[request.client, request.key][1]

    def ask_cancel(self, client: str, key: str, order_id: str) -> None:
        command = {"cancel": order_id, "client": client, "key": key, "event": f"e{self.number()}"}
        self.queue.append(command | {"market": self.stored[order_id]["market"]})

    def _enqueue(self, request: OrderRequest) -> None:
        self.queue.append({"request": request, "event": f"e{self.number()}", "market": request.market})

    def sequence(self, count: int | None = None) -> None:
        """Let the matcher process so many commands of the queue, by default all."""
        for _ in range(len(self.queue) if count is None else min(count, len(self.queue))):
            command = self.queue.pop(0)
            self.clock.tick(0.2)
            if "request" in command:
                self._match(command["request"], command["event"])
            else:
                self._cancel(command)

    def _match(self, request: OrderRequest, event: str) -> None:
        base = {"event_id": event, "market": request.market}
        own = {
            "order_id": request.order_id,
            "client_id": request.client,
            "idempotency_key": request.key,
            "side": request.side,
        }
        own |= {"order_type": request.type, "tif": request.tif, "price": request.price}
        self._event("accepted", base | own | {"qty": request.qty})
        left, self_trade = request.qty, False
        for maker in self._opposite(request):
            if not left:
                break
            if maker.client == request.client:
                self_trade = True
                break
            lots = min(left, maker.left)
            maker.left, left = maker.left - lots, left - lots
            self._fill(request, maker, lots, base)
        self.book[request.market] = [one for one in self.book[request.market] if one.left]
        if left and (self_trade or request.tif == "IOC"):
            reason = "self_trade" if self_trade else "ioc"
            self._event("cancelled", base | own | {"qty": left, "reason": reason})
            self.stored[request.order_id]["status"] = "CANCELLED"
            return
        if left:
            self.book[request.market].append(
                Resting(
                    order_id=request.order_id,
                    client=request.client,
                    side=request.side,
                    price=request.price,
                    left=left,
                    event_id=event,
                    arrival=self.number(),
                )
            )
        self._update_status(request.order_id)

    def levels(self, market: str, side: str) -> list[list[int]]:
        """[price, lots, orders], best first."""
        resting = [one for one in self.book[market] if one.side == side]
        prices = sorted({one.price for one in resting}, reverse=side == "BUY")
        at = {price: [one.left for one in resting if one.price == price] for price in prices}
        return [[price, sum(lots), len(lots)] for price, lots in at.items()]

    def trades(self, market: str, after: int, limit: int) -> Row:
        """A page of trades after a seq. `next` is the seq of the last trade, or of the last event that was read."""
        found: list[Row] = []
        ahead = [event for event in self.events if event["market"] == market and event["seq"] > after]
        for event in ahead[:PAGE_EVENTS_MAX]:
            if len(found) == limit:
                break
            after = event["seq"]
            found += [json.loads(streamed(event))] if event["type"] == "fill" else []
        return {"symbol": market, "trades": found, "next": after}

    def _opposite(self, request: OrderRequest) -> list[Resting]:
        sign = 1 if request.side == "BUY" else -1
        others = [one for one in self.book[request.market] if one.side != request.side]
        if request.type == "LIMIT":
            others = [one for one in others if sign * one.price <= sign * request.price]
        return sorted(others, key=lambda one: (sign * one.price, one.arrival))

    def _fill(self, request: OrderRequest, maker: Resting, lots: int, base: Row) -> None:
        seq = self.seqs[request.market] + 1
        fill = {"qty": lots, "price": maker.price, "trade_id": f"{request.market}-{seq}", "taker_side": request.side}
        fill |= {"taker_order_id": request.order_id, "maker_order_id": maker.order_id}
        fill |= {"taker_client_id": request.client, "maker_client_id": maker.client}
        self._event("fill", base | fill)
        sign = 1 if request.side == "BUY" else -1
        for client, way in ((request.client, sign), (maker.client, -sign)):
            held = self.balance.setdefault((client, request.market), [0, 0])
            held[0] += way * lots
            held[1] -= way * lots * maker.price
        for order in (request.order_id, maker.order_id):
            self.stored[order]["filled_qty"] += lots
            self._update_status(order)

    def _update_status(self, order_id: str) -> None:
        row = self.stored[order_id]
        if row["status"] != "CANCELLED":
            filled = row["filled_qty"]
            row["status"] = "FILLED" if filled >= row["qty"] else "PARTIALLY_FILLED" if filled else "OPEN"

    def _cancel(self, command: Row) -> None:
        order, stored = command["cancel"], self.stored[command["cancel"]]
        base = {"market": stored["market"], "event_id": command["event"], "order_id": order}
        base |= {"client_id": command["client"], "idempotency_key": command["key"]}
        resting = [one for one in self.book[stored["market"]] if one.order_id == order]
        if stored["client_id"] != command["client"] or not resting:
            reason = "NotOwner" if stored["client_id"] != command["client"] else "AlreadyDone"
            self._event("rejected", base | {"command": "cancel", "reason": reason})
            return
        for one in resting:
            known = {name: stored[name] for name in ("side", "order_type", "tif", "price")}
            self._event("cancelled", base | known | {"qty": one.left, "reason": "client"})
            self.book[stored["market"]].remove(one)
        stored["status"] = "CANCELLED"

    def _event(self, kind: str, fields: Row) -> None:
        market = fields["market"]
        self.seqs[market] += 1
        row = blank(LEDGER_EVENT_COLUMNS)
        row |= fields | {"type": kind, "seq": self.seqs[market], "ts_ns": self.clock.tick(0.05)}
        self.events.append(row)
        self.subscribers.deliver(market)
