"""Whole executions of the small exchange, step by step; planted anomalies start from the golden one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from tests.histories.clients import FATES, Clients
from tests.histories.exchange import MARKETS, Exchange, Wish
from tests.histories.tables import Row, table

NAMES = ("c001", "c002", "c003")
# One step of an execution: what to do, and four small numbers that say how.
Step = tuple[str, int, int, int, int]
DEEDS = ("order", "retry", "cancel", "read", "reuse", "sequence", "settle", "drop", "connect")


def play(steps: Sequence[Step], *, forgetful: bool = False) -> dict[str, pd.DataFrame]:
    """A correct execution (unless `forgetful`): any list of steps gives one."""
    exchange = Exchange(forgetful=forgetful)
    clients = Clients(exchange)
    wishes: list[Wish] = []
    for deed, a, b, c, d in steps:
        if deed == "order":
            wishes.append(_wish(len(wishes), a, b, c, d))
            clients.send(wishes[-1], fate=FATES[d % len(FATES)] if d % 3 else "ok")
        elif deed == "retry" and wishes:
            wish = wishes[a % len(wishes)]
            renamed = replace(wish, order_id=f"{wish.order_id}-{exchange.number()}") if b % 4 == 0 else wish
            clients.send(renamed, kind=("retry", "resubmit_early", "reask")[c % 3], fate=FATES[d % len(FATES)])
        elif deed == "cancel" and wishes:
            wish = wishes[a % len(wishes)]
            owner = wish.client if b % 5 else NAMES[b % len(NAMES)]
            clients.cancel(owner, f"x{exchange.number()}", wish.order_id, FATES[c % 3])
        elif deed == "read" and wishes:
            wish = wishes[a % len(wishes)]
            known = exchange.keys.get((wish.client, wish.key))
            clients.read(wish.client, known[0].order_id if known else wish.order_id)
            clients.read_book(wish.client, MARKETS[b % len(MARKETS)], 1 + c % 3)
            if d % 3 == 0:
                clients.read(NAMES[b % len(NAMES)], wish.order_id)
            clients.read_trades(wish.client, MARKETS[c % len(MARKETS)], 1 + d % 9, afresh=b % 4 == 0)
        elif deed == "reuse" and wishes:
            clients.reuse(wishes[a % len(wishes)], FATES[b % 2])
            _reuse_cancel(clients, c)
        elif deed == "sequence":
            exchange.sequence(1 + a % 4)
        elif deed == "settle":
            clients.settle()
        elif deed == "drop":
            exchange.subscribers.disconnect(MARKETS[a % len(MARKETS)])
        elif deed == "connect":
            exchange.subscribers.connect(MARKETS[a % len(MARKETS)])
    return finish(clients)


def _reuse_cancel(clients: Clients, number: int) -> None:
    """The key of some answered cancel again, for another order of its client."""
    answered = [row for row in clients.attempts if row["op"] == "cancel" and row["status"] in (200, 202)]
    if not answered:
        return
    row = answered[number % len(answered)]
    others = [one for one in clients.exchange.stored.values() if one["client_id"] == row["client_id"]]
    others = [one["order_id"] for one in others if one["order_id"] != row["order_id"]]
    if others:
        clients.reuse_cancel(row["client_id"], row["idempotency_key"], others[number % len(others)])


def finish(clients: Clients) -> dict[str, pd.DataFrame]:
    """Let everything come to rest; the tables."""
    exchange = clients.exchange
    while clients.limbo:
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
    }
    return {name: table(name, found) for name, found in rows.items()}


def _wish(number: int, a: int, b: int, c: int, d: int) -> Wish:
    market_order = c % 7 == 0
    return Wish(
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
        (deed, draw.randrange(1000), draw.randrange(1000), draw.randrange(1000), draw.randrange(1000))
        for deed in draw.choices(DEEDS, weights, k=count)
    ]


def golden() -> dict[str, pd.DataFrame]:
    """Some 250 orders with everything that may rightly happen to them; every check finds something to check."""
    return play(random_steps(seed=7, count=800))
