"""The tables in memory, from which a game day's past comes, hold what the same requests leave in DynamoDB."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from paperbroker.errors import InvalidRequest
from paperbroker.past import TABLES, MemoryTables, Past
from paperbroker.services import intake
from tests.paperbroker.paperbroker_rig import MARKETS, Stage


def order(number: int, **changes: Any) -> dict[str, Any]:
    body = {
        "clientId": f"c{number % 3}", "idempotencyKey": f"k{number}", "orderId": f"o{number}",
        "symbol": MARKETS[number % 2], "side": ("BUY", "SELL")[number // 2 % 2], "type": "LIMIT", "tif": "GTC",
        "qty": 1 + number % 4, "price": 100 + number % 3,
    }  # fmt: skip
    return {"op": "order", "body": body | changes}


def cancel(number: int) -> dict[str, Any]:
    body = {"clientId": f"c{number % 3}", "idempotencyKey": f"x{number}"}
    return {"op": "cancel", "orderId": f"o{number}", "body": body}


# Partial fills, a client's orders that meet, orders that rest, cancels of both kinds.
REQUESTS = [*map(order, range(24)), order(24, tif="IOC", qty=9), cancel(3), cancel(22), *map(order, range(25, 30))]


def as_text(item: dict[str, Any]) -> str:
    return json.dumps(item, sort_keys=True)


def run(dynamodb: Any, tables: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, str]]:
    ids = itertools.count()
    monkeypatch.setattr(intake.secrets, "token_hex", lambda size: f"{next(ids):016x}")
    past = Past(dynamodb, tables, MARKETS, started_ns=10**18, every_ns=10**7)
    answers = [past.ask(request) for request in REQUESTS]
    past.end()
    return answers


def test_memory_holds_what_dynamodb_holds(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    memory, names = MemoryTables(), stage.settings.tables
    assert run(memory, TABLES, monkeypatch) == run(stage.dynamodb, names, monkeypatch)
    for role, items in memory.items.items():
        stored = stage.dynamodb.scan(TableName=getattr(names, role), ConsistentRead=True)["Items"]
        assert sorted(map(as_text, items.values())) == sorted(map(as_text, stored)), role
        assert bool(items) is (role != "outbox")


def test_a_key_that_comes_again_is_no_new_request():
    past = Past(MemoryTables(), TABLES, MARKETS, started_ns=10**18, every_ns=1)
    past.ask(order(1))
    with pytest.raises(ValueError, match="is written twice"):
        past.ask(order(1))


def test_a_refused_request_is_an_error():
    past = Past(MemoryTables(), TABLES, MARKETS, started_ns=10**18, every_ns=1)
    with pytest.raises(InvalidRequest, match="qty"):
        past.ask(order(1, qty=0))
