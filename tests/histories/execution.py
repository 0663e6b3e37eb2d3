"""Play whole executions of the small exchange. The golden one is the base of the planted anomalies."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from tests.histories import telemetry
from tests.histories.clients import DELIVERIES, Clients
from tests.histories.clock import T0_NS
from tests.histories.exchange import MARKETS, Exchange, OrderRequest
from tests.histories.tables import Row, table

NAMES = ("c001", "c002", "c003")
# One step of an execution: an action and four small numbers, its parameters.
Step = tuple[str, int, int, int, int]
# One of so many events is the past of the ledger, before the load.
PAST_SHARE = 12
ACTIONS = ("order", "retry", "cancel", "read", "reuse", "sequence", "settle", "drop", "connect")


def play(steps: Sequence[Step], *, without_idempotency: bool = False) -> dict[str, pd.DataFrame]:
    """The recorded tables of an execution. Any list of steps gives a correct one, unless `without_idempotency`."""
    exchange = Exchange(without_idempotency=without_idempotency)
    clients = Clients(exchange)
    requests: list[OrderRequest] = []
    for action, a, b, c, d in steps:
        if action == "order":
            requests.append(_request(len(requests), a, b, c, d))
            clients.send(requests[-1], delivery=DELIVERIES[d % len(DELIVERIES)] if d % 3 else "ok")
        elif action == "retry" and requests:
            request = requests[a % len(requests)]
            renamed = replace(request, order_id=f"{request.order_id}-{exchange.number()}") if b % 4 == 0 else request
            clients.send(
                renamed, kind=("retry", "resubmit_early", "reask")[c % 3], delivery=DELIVERIES[d % len(DELIVERIES)]
            )
        elif action == "cancel" and requests:
            request = requests[a % len(requests)]
            owner = request.client if b % 5 else NAMES[b % len(NAMES)]
            clients.cancel(owner, f"x{exchange.number()}", request.order_id, DELIVERIES[c % 3])
        elif action == "read" and requests:
            request = requests[a % len(requests)]
            known = exchange.keys.get((request.client, request.key))
            clients.read(request.client, known[0].order_id if known else request.order_id)
            clients.read_book(request.client, MARKETS[b % len(MARKETS)], 1 + c % 3)
            if d % 3 == 0:
                clients.read(NAMES[b % len(NAMES)], request.order_id)
            clients.read_trades(request.client, MARKETS[c % len(MARKETS)], 1 + d % 9, afresh=b % 4 == 0)
        elif action == "reuse" and requests:
            clients.reuse(requests[a % len(requests)], DELIVERIES[b % 2])
            _reuse_cancel(clients, c)
            _send_refused(clients, c)
        elif action == "sequence":
            exchange.sequence(1 + a % 4)
        elif action == "settle":
            clients.settle()
        elif action == "drop":
            exchange.subscribers.disconnect(MARKETS[a % len(MARKETS)])
        elif action == "connect":
            exchange.subscribers.connect(MARKETS[a % len(MARKETS)])
    return finish(clients)


def _reuse_cancel(clients: Clients, number: int) -> None:
    """Reuse the key of an answered cancel for another order of its client."""
    answered = [row for row in clients.attempts if row["op"] == "cancel" and row["status"] in (200, 202)]
    if not answered:
        return
    row = answered[number % len(answered)]
    others = [one for one in clients.exchange.stored.values() if one["client_id"] == row["client_id"]]
    others = [one["order_id"] for one in others if one["order_id"] != row["order_id"]]
    if others:
        clients.reuse_cancel(row["client_id"], row["idempotency_key"], others[number % len(others)])


def _send_refused(clients: Clients, number: int) -> None:
    """Send an order with the id of another one, an order of no lots, and a read and a cancel that name no client."""
    if clients.exchange.stored:
        stored = list(clients.exchange.stored.values())[number % len(clients.exchange.stored)]
        fresh = f"refused{len(clients.attempts)}"
        request = replace(_request(0, number, number, number, number), key=fresh, order_id=stored["order_id"])
        clients.send_refused(request, "taken_order_id", 409, "OrderIdReused")
        request = replace(request, key=f"{fresh}-m", order_id=f"{fresh}-m", qty=0)
        clients.send_refused(request, "malformed", 400, "ValidationError", field="qty")
        request = replace(request, key=f"{fresh}-m1.clientId.missing", order_id=stored["order_id"])
        for op in ("get_order", "cancel"):
            clients.send_refused(request, "malformed", 400, "ValidationError", op=op, field="clientId")


def finish(clients: Clients) -> dict[str, pd.DataFrame]:
    """Finish all pending work. Returns the tables."""
    exchange = clients.exchange
    while clients.in_flight:
        clients.settle()
    exchange.sequence()
    for market in MARKETS:
        exchange.subscribers.connect(market)
    rows: dict[str, list[Row]] = {
        "attempts": clients.attempts,
        "stream": exchange.subscribers.stream,
        "connections": exchange.subscribers.connections,
        "events": exchange.events,
        "orders": list(exchange.stored.values()),
        "positions": [
            {"client_id": client, "market": market, "qty": held[0], "cash": held[1]}
            for (client, market), held in exchange.balance.items()
        ],
        "outbox": [],
        "marks": [
            {"market": market, "event_id": event, "expires_s": T0_NS // 10**9 + 15 * 86_400}
            for market, event in dict.fromkeys((row["market"], row["event_id"]) for row in exchange.events)
        ],
        "past": _past(exchange.events),
    }
    told = (rows[name] for name in ("attempts", "events", "orders", "connections"))
    series = telemetry.published(*told, since_ns=_ended_ns(rows["past"]))
    return {**{name: table(name, found) for name, found in rows.items()}, "series": series}


def _past(events: Sequence[Row]) -> list[Row]:
    """The first events, up to the end of a command."""
    size = len(events) // PAST_SHARE
    while 0 < size < len(events) and events[size]["event_id"] == events[size - 1]["event_id"]:
        size += 1
    return list(events[:size])


def _ended_ns(past: Sequence[Row]) -> int:
    return past[-1]["ts_ns"] if past else 0


def _request(number: int, a: int, b: int, c: int, d: int) -> OrderRequest:
    market_order = c % 7 == 0
    return OrderRequest(
        client=NAMES[a % len(NAMES)],
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
        (action, draw.randrange(1000), draw.randrange(1000), draw.randrange(1000), draw.randrange(1000))
        for action in draw.choices(ACTIONS, weights, k=count)
    ]


def golden() -> dict[str, pd.DataFrame]:
    """An execution of about 250 orders with everything that may correctly happen; no check is without evidence."""
    return play(random_steps(seed=7, count=800))
