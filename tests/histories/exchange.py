"""A small correct exchange: intake, queue, matcher and ledger; for histories that checks must accept.

Matching is the naive kind (sort everything, each time): a third opinion beside PaperBroker's and the replay's.
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
class Wish:
    """What a client wants to trade."""

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
    """`forgetful` is the classic bad change: a known key is let in again, under a new event id."""

    forgetful: bool = False
    clock: Clock = field(default_factory=Clock)
    events: list[Row] = field(default_factory=list)
    keys: dict[tuple[str, str], tuple[Wish, str]] = field(default_factory=dict)
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

    def apply(self, wish: Wish) -> tuple[int, str]:
        known = self.keys.get((wish.client, wish.key))
        if known is not None:
            if self.forgetful:
                self._let_in(known[0])
            return 200, known[1]
        self.clock.tick(0.1)
        body = {"orderId": wish.order_id, "clientId": wish.client, "idempotencyKey": wish.key, "symbol": wish.market}
        body |= {"side": wish.side, "type": wish.type, "tif": wish.tif, "qty": wish.qty}
        body |= {"status": "ACCEPTED", "acceptedAt": self.clock.now} | ({"price": wish.price} if wish.price else {})
        self.keys[wish.client, wish.key] = (wish, json.dumps(body))
        self.stored[wish.order_id] = {
            "order_id": wish.order_id,
            "client_id": wish.client,
            "idempotency_key": wish.key,
            "market": wish.market,
            "side": wish.side,
            "order_type": wish.type,
            "tif": wish.tif,
            "qty": wish.qty,
            "price": wish.price,
            "filled_qty": 0,
            "status": "ACCEPTED",
            "accepted_ns": self.clock.now,
        }
        self._let_in(wish)
        return 201, self.keys[wish.client, wish.key][1]

    def ask_cancel(self, client: str, key: str, order_id: str) -> None:
        command = {"cancel": order_id, "client": client, "key": key, "event": f"e{self.number()}"}
        self.queue.append(command | {"market": self.stored[order_id]["market"]})

    def _let_in(self, wish: Wish) -> None:
        self.queue.append({"wish": wish, "event": f"e{self.number()}", "market": wish.market})

    def sequence(self, count: int | None = None) -> None:
        """The matcher takes so many commands off the queue (all by default)."""
        for _ in range(len(self.queue) if count is None else min(count, len(self.queue))):
            command = self.queue.pop(0)
            self.clock.tick(0.2)
            if "wish" in command:
                self._match(command["wish"], command["event"])
            else:
                self._take_off(command)

    def _match(self, wish: Wish, event: str) -> None:
        base = {"event_id": event, "market": wish.market}
        own = {"order_id": wish.order_id, "client_id": wish.client, "idempotency_key": wish.key, "side": wish.side}
        own |= {"order_type": wish.type, "tif": wish.tif, "price": wish.price}
        self._event("accepted", base | own | {"qty": wish.qty})
        left, met_itself = wish.qty, False
        for maker in self._opposite(wish):
            if not left:
                break
            if maker.client == wish.client:
                met_itself = True
                break
            lots = min(left, maker.left)
            maker.left, left = maker.left - lots, left - lots
            self._fill(wish, maker, lots, base)
        self.book[wish.market] = [one for one in self.book[wish.market] if one.left]
        if left and (met_itself or wish.tif == "IOC"):
            reason = "self_trade" if met_itself else "ioc"
            self._event("cancelled", base | own | {"qty": left, "reason": reason})
            self.stored[wish.order_id]["status"] = "CANCELLED"
            return
        if left:
            self.book[wish.market].append(
                Resting(
                    order_id=wish.order_id,
                    client=wish.client,
                    side=wish.side,
                    price=wish.price,
                    left=left,
                    event_id=event,
                    arrival=self.number(),
                )
            )
        self._restate(wish.order_id)

    def levels(self, market: str, side: str) -> list[list[int]]:
        """[price, lots, orders], best first."""
        resting = [one for one in self.book[market] if one.side == side]
        prices = sorted({one.price for one in resting}, reverse=side == "BUY")
        at = {price: [one.left for one in resting if one.price == price] for price in prices}
        return [[price, sum(lots), len(lots)] for price, lots in at.items()]

    def trades(self, market: str, after: int, limit: int) -> Row:
        """The first trades after a place, and where to go on: after the last of them or all that was looked at."""
        found: list[Row] = []
        ahead = [event for event in self.events if event["market"] == market and event["seq"] > after]
        for event in ahead[:PAGE_EVENTS_MAX]:
            if len(found) == limit:
                break
            after = event["seq"]
            found += [json.loads(streamed(event))] if event["type"] == "fill" else []
        return {"symbol": market, "trades": found, "next": after}

    def _opposite(self, wish: Wish) -> list[Resting]:
        sign = 1 if wish.side == "BUY" else -1
        others = [one for one in self.book[wish.market] if one.side != wish.side]
        if wish.type == "LIMIT":
            others = [one for one in others if sign * one.price <= sign * wish.price]
        return sorted(others, key=lambda one: (sign * one.price, one.arrival))

    def _fill(self, wish: Wish, maker: Resting, lots: int, base: Row) -> None:
        seq = self.seqs[wish.market] + 1
        fill = {"qty": lots, "price": maker.price, "trade_id": f"{wish.market}-{seq}", "taker_side": wish.side}
        fill |= {"taker_order_id": wish.order_id, "maker_order_id": maker.order_id}
        fill |= {"taker_client_id": wish.client, "maker_client_id": maker.client}
        self._event("fill", base | fill)
        sign = 1 if wish.side == "BUY" else -1
        for client, way in ((wish.client, sign), (maker.client, -sign)):
            held = self.balance.setdefault((client, wish.market), [0, 0])
            held[0] += way * lots
            held[1] -= way * lots * maker.price
        for order in (wish.order_id, maker.order_id):
            self.stored[order]["filled_qty"] += lots
            self._restate(order)

    def _restate(self, order_id: str) -> None:
        row = self.stored[order_id]
        if row["status"] != "CANCELLED":
            filled = row["filled_qty"]
            row["status"] = "FILLED" if filled >= row["qty"] else "PARTIALLY_FILLED" if filled else "OPEN"

    def _take_off(self, command: Row) -> None:
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
