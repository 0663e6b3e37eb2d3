"""The clients of the small exchange: what they send, what becomes of it and what they see."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from kit.model import ATTEMPT_COLUMNS
from tests.histories.clock import MS
from tests.histories.exchange import Exchange, Wish
from tests.histories.tables import Row, blank

TIMEOUT_NS = 500 * MS
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


@dataclass(slots=True)
class Clients:
    exchange: Exchange
    attempts: list[Row] = field(default_factory=list)
    limbo: list[tuple[Row, Wish]] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)  # by market, where a page of trades said to go on

    def send(self, wish: Wish, kind: str = "first", fate: str = "ok") -> Row:
        """One attempt at an order. Late answers of delayed requests come when `settle` lets them."""
        row = self._attempt("order", kind, wish)
        if fate in ("ok", "lost_reply", "late", "crashed_after"):
            status, reply = self.exchange.apply(wish)
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
        status, reply = self.exchange.apply(wish)
        self.exchange.clock.now = max(self.exchange.clock.now, row["completed_ns"] + MS)
        row |= {"late_status": status, "late_ns": self.exchange.clock.tick(), "reply": reply}

    def cancel(self, client: str, key: str, order_id: str, fate: str = "ok") -> None:
        wish = Wish(client=client, key=key, order_id=order_id, market="", side="", qty=0, price=0, type="", tif="")
        row = self._attempt("cancel", "first", wish)
        known = self.exchange.stored.get(order_id)
        if fate not in ("ok", "lost_reply"):
            self._answer(row, 0, "", error="timeout", took_ns=TIMEOUT_NS)
        elif known is None:
            self._answer(row, 404, "{}")
        elif known["client_id"] != client:
            self._answer(row, 403, json.dumps({"error": "NotOwner"}))
        else:
            self.exchange.ask_cancel(client, key, order_id)
            if fate == "ok":
                body = json.dumps({"orderId": order_id, "status": "CANCEL_REQUESTED"})
                self._answer(row, 202, body)
                if row["op_id"] % 3 == 0:
                    self._answer(self._attempt("cancel", "resubmit_early", wish), 200, body)
            else:
                self._answer(row, 0, "", error="timeout", took_ns=TIMEOUT_NS)

    def reuse_cancel(self, client: str, key: str, order_id: str) -> None:
        """The key of a cancel that was answered, for another order of the client."""
        wish = Wish(client=client, key=key, order_id=order_id, market="", side="", qty=0, price=0, type="", tif="")
        row = self._attempt("cancel", "reuse_key", wish)
        self._answer(row, 409, json.dumps({"error": "IdempotencyKeyReused"}))

    def read(self, client: str, order_id: str) -> None:
        wish = Wish(client=client, key="", order_id=order_id, market="", side="", qty=0, price=0, type="", tif="")
        row = self._attempt("get_order", "first", wish)
        known = self.exchange.stored.get(order_id)
        if known is None:
            self._answer(row, 404, "{}")
        elif known["client_id"] != client:
            self._answer(row, 403, json.dumps({"error": "NotOwner"}))
        else:
            names = {
                "symbol": "market",
                "side": "side",
                "type": "order_type",
                "tif": "tif",
                "qty": "qty",
                "price": "price",
            }
            body = {"orderId": order_id, "clientId": known["client_id"], "status": known["status"]}
            body |= {"filledQty": known["filled_qty"]}
            self._answer(row, 200, json.dumps(body | {said: known[stored] for said, stored in names.items()}))

    def read_book(self, client: str, market: str, depth: int) -> None:
        nothing = dict.fromkeys(("key", "order_id", "side", "type", "tif"), "")
        row = self._attempt("book", "first", Wish(client=client, market=market, qty=0, price=0, **nothing), depth=depth)
        sides = {"bids": "BUY", "asks": "SELL"}
        body = {"symbol": market, "seq": self.exchange.seqs[market]}
        body |= {name: self.exchange.levels(market, side)[:depth] for name, side in sides.items()}
        self._answer(row, 200, json.dumps(body))

    def read_trades(self, client: str, market: str, limit: int, *, afresh: bool) -> None:
        """From the beginning, or from where the page before it said."""
        nothing = dict.fromkeys(("key", "order_id", "side", "type", "tif"), "")
        after = 0 if afresh else self.places.get(market, 0)
        wish = Wish(client=client, market=market, qty=0, price=0, **nothing)
        row = self._attempt("trades", "first", wish, limit=limit, after=after)
        page = self.exchange.trades(market, after, limit)
        self.places[market] = page["next"]
        self._answer(row, 200, json.dumps(page))

    def reuse(self, wish: Wish, fate: str = "ok") -> None:
        """The key again with other content."""
        row = self._attempt("order", "reuse_key", replace(wish, qty=wish.qty + 1, order_id=f"{wish.order_id}-x"))
        if fate == "ok" and (wish.client, wish.key) in self.exchange.keys:
            self._answer(row, 409, json.dumps({"error": "IdempotencyKeyReused"}))
        else:
            self._answer(row, 0, "", error="timeout", took_ns=TIMEOUT_NS)

    def _attempt(self, op: str, kind: str, wish: Wish, **asked: int) -> Row:
        at = self.exchange.clock.tick()
        row = blank(ATTEMPT_COLUMNS)
        row |= {"op_id": len(self.attempts), "op": op, "kind": kind, "attempt": 1}
        row |= {"client_id": wish.client, "idempotency_key": wish.key, "order_id": wish.order_id}
        row |= {"symbol": wish.market, "side": wish.side, "type": wish.type, "tif": wish.tif}
        row |= {"qty": wish.qty, "price": wish.price, "intended_ns": at, "invoked_ns": at} | asked
        self.attempts.append(row)
        return row

    def _answer(
        self, row: Row, status: int, reply: str, *, error: str = "", outcome: str = "", took_ns: int = 2 * MS
    ) -> None:
        if not outcome:
            outcome = "ok" if 200 <= status < 300 else "fail" if 400 <= status < 500 else "info"
        row |= {"status": status, "reply": reply, "error": error, "outcome": outcome}
        row["completed_ns"] = row["invoked_ns"] + took_ns
        self.exchange.clock.now = max(self.exchange.clock.now, row["invoked_ns"] + min(took_ns, 2 * MS))
