"""A small correct exchange and its clients, for histories that checks must accept; planted anomalies start from it.

Matching is the naive kind (sort everything, each time): a third opinion beside PaperBroker's and the replay's.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from kit.model import (
    ATTEMPT_COLUMNS,
    CONNECTION_COLUMNS,
    LEDGER_EVENT_COLUMNS,
    ORDER_COLUMNS,
    OUTBOX_COLUMNS,
    POSITION_COLUMNS,
    STREAM_COLUMNS,
)

T0_NS = 1_760_000_000_000_000_000
MS = 1_000_000
TIMEOUT_NS = 500 * MS
MARKETS = ("ACME", "BOLT")
CLIENTS = ("c001", "c002", "c003")
COLUMNS = {
    "attempts": ATTEMPT_COLUMNS,
    "stream": STREAM_COLUMNS,
    "connections": CONNECTION_COLUMNS,
    "events": LEDGER_EVENT_COLUMNS,
    "orders": ORDER_COLUMNS,
    "positions": POSITION_COLUMNS,
    "outbox": OUTBOX_COLUMNS,
}
# What becomes of a request: applied or not, and what its client sees.
FATES = (
    "ok",
    "lost_request",
    "lost_reply",
    "late",
    "refused",
    "throttled",
    "crashed_before",
    "crashed_after",
    "delayed",
)
CAMEL = {
    "event_id": "eventId",
    "ts_ns": "tsNs",
    "order_id": "orderId",
    "client_id": "clientId",
    "idempotency_key": "idempotencyKey",
    "order_type": "orderType",
    "trade_id": "tradeId",
    "taker_order_id": "takerOrderId",
    "maker_order_id": "makerOrderId",
    "taker_client_id": "takerClientId",
    "maker_client_id": "makerClientId",
    "taker_side": "takerSide",
}
Row = dict[str, Any]


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
    now: int = T0_NS
    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    keys: dict[tuple[str, str], tuple[Wish, str]] = field(default_factory=dict)
    stored: dict[str, Row] = field(default_factory=dict)
    queue: list[Row] = field(default_factory=list)
    book: dict[str, list[Resting]] = field(default_factory=lambda: {market: [] for market in MARKETS})
    balance: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    seqs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MARKETS, 0))
    open: dict[str, Row | None] = field(default_factory=lambda: dict.fromkeys(MARKETS))
    heard: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MARKETS, 0))
    limbo: list[tuple[Row, Wish]] = field(default_factory=list)
    made: int = 0

    def tick(self, ms: float = 3.0) -> int:
        self.now += int(ms * MS)
        return self.now

    def number(self) -> int:
        self.made += 1
        return self.made

    # Clients

    def send(self, wish: Wish, kind: str = "first", fate: str = "ok") -> Row:
        """One attempt at an order. Late answers of delayed requests come when `settle` lets them."""
        row = self._attempt("order", kind, wish)
        if fate in ("ok", "lost_reply", "late", "crashed_after"):
            status, reply = self.apply(wish)
        else:
            status, reply = 0, ""
        if fate == "ok":
            self._answer(row, status, reply)
        elif fate == "refused":
            self._answer(row, 0, "", error="refused", outcome="fail")
        elif fate == "throttled":
            self._answer(row, 429, "{}")
        elif fate in ("crashed_before", "crashed_after"):
            self._answer(row, 503, "")
        else:
            self._answer(row, 0, "", error="timeout", took_ns=TIMEOUT_NS)
        if fate == "late":
            row |= {"late_status": status, "late_ns": row["completed_ns"] + 7 * MS, "reply": reply}
        if fate == "delayed":
            self.limbo.append((row, wish))
        return row

    def settle(self) -> None:
        """A request that hung in the network arrives after all."""
        if not self.limbo:
            return
        row, wish = self.limbo.pop(0)
        status, reply = self.apply(wish)
        self.now = max(self.now, row["completed_ns"] + MS)
        row |= {"late_status": status, "late_ns": self.tick(), "reply": reply}

    def cancel(self, client: str, key: str, order_id: str, fate: str = "ok") -> None:
        wish = Wish(client=client, key=key, order_id=order_id, market="", side="", qty=0, price=0, type="", tif="")
        row = self._attempt("cancel", "first", wish)
        known = self.stored.get(order_id)
        if fate not in ("ok", "lost_reply"):
            self._answer(row, 0, "", error="timeout", took_ns=TIMEOUT_NS)
        elif known is None:
            self._answer(row, 404, "{}")
        else:
            self.queue.append({"cancel": order_id, "client": client, "key": key, "event": f"e{self.number()}"})
            self.queue[-1]["market"] = known["market"]
            if fate == "ok":
                self._answer(row, 202, json.dumps({"orderId": order_id, "status": "CANCEL_REQUESTED"}))
            else:
                self._answer(row, 0, "", error="timeout", took_ns=TIMEOUT_NS)

    def read(self, client: str, order_id: str) -> None:
        wish = Wish(client=client, key="", order_id=order_id, market="", side="", qty=0, price=0, type="", tif="")
        row = self._attempt("get_order", "first", wish)
        known = self.stored.get(order_id)
        if known is None:
            self._answer(row, 404, "{}")
        else:
            body = {"orderId": order_id, "status": known["status"], "filledQty": known["filled_qty"]}
            self._answer(row, 200, json.dumps(body))

    def reuse(self, wish: Wish, fate: str = "ok") -> None:
        """The key again with other content."""
        row = self._attempt("order", "probe_reuse", replace(wish, qty=wish.qty + 1, order_id=f"{wish.order_id}-x"))
        if fate == "ok" and (wish.client, wish.key) in self.keys:
            self._answer(row, 409, json.dumps({"error": "IdempotencyKeyReused"}))
        else:
            self._answer(row, 0, "", error="timeout", took_ns=TIMEOUT_NS)

    def _attempt(self, op: str, kind: str, wish: Wish) -> Row:
        at = self.tick()
        row = {name: "" if typ == "string" else 0 for name, typ in ATTEMPT_COLUMNS.items()}
        row |= {"op_id": len(self.rows["attempts"]), "op": op, "kind": kind, "attempt": 1}
        row |= {"client_id": wish.client, "idempotency_key": wish.key, "order_id": wish.order_id}
        row |= {"symbol": wish.market, "side": wish.side, "type": wish.type, "tif": wish.tif}
        row |= {"qty": wish.qty, "price": wish.price, "intended_ns": at, "invoked_ns": at}
        self.rows["attempts"].append(row)
        return row

    def _answer(
        self, row: Row, status: int, reply: str, *, error: str = "", outcome: str = "", took_ns: int = 2 * MS
    ) -> None:
        if not outcome:
            outcome = "ok" if 200 <= status < 300 else "fail" if 400 <= status < 500 else "info"
        row |= {"status": status, "reply": reply, "error": error, "outcome": outcome}
        row["completed_ns"] = row["invoked_ns"] + took_ns
        self.now = max(self.now, row["invoked_ns"] + min(took_ns, 2 * MS))

    # Intake and matcher

    def apply(self, wish: Wish) -> tuple[int, str]:
        known = self.keys.get((wish.client, wish.key))
        if known is not None:
            if self.forgetful:
                self._let_in(known[0])
            return 200, known[1]
        self.tick(0.1)
        body = {"orderId": wish.order_id, "clientId": wish.client, "idempotencyKey": wish.key, "symbol": wish.market}
        body |= {"side": wish.side, "type": wish.type, "tif": wish.tif, "qty": wish.qty}
        body |= {"status": "ACCEPTED", "acceptedAt": self.now} | ({"price": wish.price} if wish.price else {})
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
            "accepted_ns": self.now,
        }
        self._let_in(wish)
        return 201, self.keys[wish.client, wish.key][1]

    def _let_in(self, wish: Wish) -> None:
        self.queue.append({"wish": wish, "event": f"e{self.number()}", "market": wish.market})

    def sequence(self, count: int | None = None) -> None:
        """The matcher takes so many commands off the queue (all by default)."""
        for _ in range(len(self.queue) if count is None else min(count, len(self.queue))):
            command = self.queue.pop(0)
            self.tick(0.2)
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
        row = {name: "" if typ == "string" else 0 for name, typ in LEDGER_EVENT_COLUMNS.items()}
        row |= fields | {"type": kind, "seq": self.seqs[market], "ts_ns": self.tick(0.05)}
        self.rows["events"].append(row)
        self._deliver(market)

    # Subscribers: one a market

    def connect(self, market: str) -> None:
        if self.open[market] is not None:
            return
        number = sum(row["symbol"] == market for row in self.rows["connections"])
        row = {"subscriber": f"s-{market}", "connection": number, "symbol": market, "after_seq": self.heard[market]}
        row |= {"dialed_ns": self.tick(), "opened_ns": self.tick(), "closed_ns": 0, "close_code": 0, "error": ""}
        self.rows["connections"].append(row)
        self.open[market] = row
        self._deliver(market)

    def disconnect(self, market: str) -> None:
        row = self.open[market]
        if row is not None:
            row |= {"closed_ns": self.tick(), "close_code": 1006}
            self.open[market] = None

    def _deliver(self, market: str) -> None:
        dial = self.open[market]
        if dial is None:
            return
        for event in self.rows["events"]:
            if event["market"] == market and event["seq"] > self.heard[market]:
                row = {"subscriber": dial["subscriber"], "connection": dial["connection"], "symbol": market}
                row |= {"seq": event["seq"], "received_ns": self.tick(0.05), "event": streamed(event)}
                self.rows["stream"].append(row)
                self.heard[market] = event["seq"]

    def finish(self) -> dict[str, pd.DataFrame]:
        """Let everything come to rest; the tables."""
        while self.limbo:
            self.settle()
        self.sequence()
        for market in MARKETS:
            self.connect(market)
        self.rows["orders"] = list(self.stored.values())
        self.rows["positions"] = [
            {"client_id": client, "market": market, "qty": held[0], "cash": held[1]}
            for (client, market), held in self.balance.items()
        ]
        return {name: table(name, rows) for name, rows in self.rows.items()}


def streamed(event: Row) -> str:
    """The ledger item as JSON, without what its type lacks."""
    return json.dumps({CAMEL.get(name, name): value for name, value in event.items() if value not in ("", 0)})


def table(name: str, rows: Sequence[Row]) -> pd.DataFrame:
    return pd.DataFrame(
        {column: pd.Series([row[column] for row in rows], dtype=kind) for column, kind in COLUMNS[name].items()}
    )


# One step of an execution: what to do, and four small numbers that say how.
Step = tuple[str, int, int, int, int]
DEEDS = ("order", "retry", "cancel", "read", "reuse", "sequence", "settle", "drop", "connect")


def play(steps: Sequence[Step], *, forgetful: bool = False) -> dict[str, pd.DataFrame]:
    """A correct execution (unless `forgetful`): any list of steps gives one."""
    exchange = Exchange(forgetful=forgetful)
    wishes: list[Wish] = []
    for deed, a, b, c, d in steps:
        if deed == "order":
            wishes.append(_wish(len(wishes), a, b, c, d))
            exchange.send(wishes[-1], fate=FATES[d % len(FATES)] if d % 3 else "ok")
        elif deed == "retry" and wishes:
            wish = wishes[a % len(wishes)]
            renamed = replace(wish, order_id=f"{wish.order_id}-{exchange.number()}") if b % 4 == 0 else wish
            exchange.send(renamed, kind=("retry", "deliberate", "reask")[c % 3], fate=FATES[d % len(FATES)])
        elif deed == "cancel" and wishes:
            wish = wishes[a % len(wishes)]
            owner = wish.client if b % 5 else CLIENTS[b % len(CLIENTS)]
            exchange.cancel(owner, f"x{exchange.number()}", wish.order_id, FATES[c % 3])
        elif deed == "read" and wishes:
            wish = wishes[a % len(wishes)]
            known = exchange.keys.get((wish.client, wish.key))
            exchange.read(wish.client, known[0].order_id if known else wish.order_id)
        elif deed == "reuse" and wishes:
            exchange.reuse(wishes[a % len(wishes)], FATES[b % 2])
        elif deed == "sequence":
            exchange.sequence(1 + a % 4)
        elif deed == "settle":
            exchange.settle()
        elif deed == "drop":
            exchange.disconnect(MARKETS[a % len(MARKETS)])
        elif deed == "connect":
            exchange.connect(MARKETS[a % len(MARKETS)])
    return exchange.finish()


def _wish(number: int, a: int, b: int, c: int, d: int) -> Wish:
    market_order = c % 7 == 0
    return Wish(
        client=CLIENTS[a % len(CLIENTS)],
        key=f"k{number}",
        order_id=f"o{number}",
        market=MARKETS[b % len(MARKETS)],
        side=("BUY", "SELL")[(a + c) % 2],
        qty=1 + d % 9,
        price=0 if market_order else 100 + (b + c) % 5,
        type="MARKET" if market_order else "LIMIT",
        tif="IOC" if market_order or c % 5 == 0 else "GTC",
    )


def random_steps(seed: int, count: int) -> list[Step]:
    draw = random.Random(seed)
    weights = (40, 30, 8, 10, 4, 30, 3, 1, 4)
    return [
        (deed, draw.randrange(1000), draw.randrange(1000), draw.randrange(1000), draw.randrange(1000))
        for deed in draw.choices(DEEDS, weights, k=count)
    ]


def golden() -> dict[str, pd.DataFrame]:
    """Some 250 orders with everything that may rightly happen to them; every check finds something to check."""
    return play(random_steps(seed=7, count=800))
