"""Simulate clients of the small exchange: what they send, whether it is applied, and which answer they get."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from kit.model import ATTEMPT_COLUMNS
from tests.histories.clock import MS
from tests.histories.exchange import Exchange, OrderRequest
from tests.histories.tables import Row, blank

TIMEOUT_NS = 500 * MS
# How a request ends: whether it is applied, and which answer its client gets.
DELIVERIES = (
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
    in_flight: list[tuple[Row, OrderRequest]] = field(default_factory=list)
    next_seqs: dict[str, int] = field(default_factory=dict)  # by market, the next of the last page of trades

    def send(self, request: OrderRequest, kind: str = "first", delivery: str = "ok") -> Row:
        """Send one attempt at an order. A delayed request is applied and answered by `settle`."""
        row = self._attempt("order", kind, request)
        if delivery in ("ok", "lost_reply", "late", "crashed_after"):
            status, reply = self.exchange.apply(request)
        else:
            status, reply = 0, ""
        if delivery == "ok":
            self._answer(row, status, reply)
        elif delivery == "refused":
            self._answer(row, 0, "", error="refused", outcome="fail")
        elif delivery == "throttled":
            self._answer(row, 429, "{}")
            row["retry_after_s"] = 1
        elif delivery in ("crashed_before", "crashed_after"):
            self._answer(row, 503, "")
        else:
            self._answer(row, 0, "", error="timeout", took_ns=TIMEOUT_NS)
        if delivery == "late":
            row |= {"late_status": status, "late_ns": row["completed_ns"] + 7 * MS, "reply": reply}
        if delivery == "delayed":
            self.in_flight.append((row, request))
        return row

    def settle(self) -> None:
        """Let a delayed request arrive."""
        if not self.in_flight:
            return
        row, request = self.in_flight.pop(0)
        status, reply = self.exchange.apply(request)
        self.exchange.clock.now = max(self.exchange.clock.now, row["completed_ns"] + MS)
        row |= {"late_status": status, "late_ns": self.exchange.clock.tick(), "reply": reply}

    def cancel(self, client: str, key: str, order_id: str, delivery: str = "ok") -> None:
        request = OrderRequest(
            client=client, key=key, order_id=order_id, market="", side="", qty=0, price=0, type="", tif=""
        )
        row = self._attempt("cancel", "first", request)
        known = self.exchange.stored.get(order_id)
        if delivery not in ("ok", "lost_reply"):
            self._answer(row, 0, "", error="timeout", took_ns=TIMEOUT_NS)
        elif known is None:
            self._answer(row, 404, "{}")
        elif known["client_id"] != client:
            self._answer(row, 403, json.dumps({"error": "NotOwner"}))
        else:
            self.exchange.ask_cancel(client, key, order_id)
            if delivery == "ok":
                body = json.dumps({"orderId": order_id, "status": "CANCEL_REQUESTED"})
                self._answer(row, 202, body)
                if row["op_id"] % 3 == 0:
                    self._answer(self._attempt("cancel", "resubmit_early", request), 200, body)
            else:
                self._answer(row, 0, "", error="timeout", took_ns=TIMEOUT_NS)

    def reuse_cancel(self, client: str, key: str, order_id: str) -> None:
        """Reuse the key of an answered cancel for another order of the client."""
        request = OrderRequest(
            client=client, key=key, order_id=order_id, market="", side="", qty=0, price=0, type="", tif=""
        )
        row = self._attempt("cancel", "reuse_key", request)
        self._answer(row, 409, json.dumps({"error": "IdempotencyKeyReused"}))

    def read(self, client: str, order_id: str) -> None:
        request = OrderRequest(
            client=client, key="", order_id=order_id, market="", side="", qty=0, price=0, type="", tif=""
        )
        row = self._attempt("get_order", "first", request)
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
            body |= {"filledQty": known["filled_qty"], "acceptedAt": known["accepted_ns"]}
            self._answer(row, 200, json.dumps(body | {said: known[stored] for said, stored in names.items()}))

    def read_book(self, client: str, market: str, depth: int) -> None:
        nothing = dict.fromkeys(("key", "order_id", "side", "type", "tif"), "")
        row = self._attempt(
            "book", "first", OrderRequest(client=client, market=market, qty=0, price=0, **nothing), depth=depth
        )
        sides = {"bids": "BUY", "asks": "SELL"}
        body = {"symbol": market, "seq": self.exchange.seqs[market]}
        body |= {name: self.exchange.levels(market, side)[:depth] for name, side in sides.items()}
        self._answer(row, 200, json.dumps(body))

    def read_trades(self, client: str, market: str, limit: int, *, afresh: bool) -> None:
        """Read a page from the beginning (`afresh`), or from the next of the page before."""
        nothing = dict.fromkeys(("key", "order_id", "side", "type", "tif"), "")
        after = 0 if afresh else self.next_seqs.get(market, 0)
        request = OrderRequest(client=client, market=market, qty=0, price=0, **nothing)
        row = self._attempt("trades", "first", request, limit=limit, after=after)
        page = self.exchange.trades(market, after, limit)
        self.next_seqs[market] = page["next"]
        self._answer(row, 200, json.dumps(page))

    def send_refused(
        self, request: OrderRequest, kind: str, status: int, error: str, op: str = "order", **more: str
    ) -> None:
        """Send a request that must be refused."""
        self._answer(self._attempt(op, kind, request), status, json.dumps({"error": error} | more))

    def reuse(self, request: OrderRequest, delivery: str = "ok") -> None:
        """Reuse the key with other content."""
        row = self._attempt(
            "order", "reuse_key", replace(request, qty=request.qty + 1, order_id=f"{request.order_id}-x")
        )
        if delivery == "ok" and (request.client, request.key) in self.exchange.keys:
            self._answer(row, 409, json.dumps({"error": "IdempotencyKeyReused"}))
        else:
            self._answer(row, 0, "", error="timeout", took_ns=TIMEOUT_NS)

    def _attempt(self, op: str, kind: str, request: OrderRequest, **asked: int) -> Row:
        at = self.exchange.clock.tick()
        row = blank(ATTEMPT_COLUMNS)
        row |= {"op_id": len(self.attempts), "op": op, "kind": kind, "attempt": 1}
        row |= {"client_id": request.client, "idempotency_key": request.key, "order_id": request.order_id}
        row |= {"symbol": request.market, "side": request.side, "type": request.type, "tif": request.tif}
        row |= {"qty": request.qty, "price": request.price, "intended_ns": at, "invoked_ns": at} | asked
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
