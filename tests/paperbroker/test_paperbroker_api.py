"""PaperBroker as its clients see it: real processes, real HTTP and WebSocket, a real DynamoDB and SQS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paperbroker_rig import Process, Stage, eventually, running


@pytest.fixture
def api(stage: Stage, tmp_path: Path) -> Iterator[Process]:
    with running("api", stage.env, tmp_path) as process:
        yield process


@pytest.fixture
def matcher(stage: Stage, tmp_path: Path) -> Iterator[Process]:
    with running("matcher", stage.env, tmp_path) as process:
        yield process


def order(n: int = 1, **changed: Any) -> dict[str, Any]:
    base = {
        "clientId": "c1",
        "idempotencyKey": f"k{n}",
        "orderId": f"o{n}",
        "symbol": "ACME",
        "side": "BUY",
        "type": "LIMIT",
        "tif": "GTC",
        "qty": 5,
        "price": 100,
    }
    return {name: value for name, value in (base | changed).items() if value is not None}


def test_order_is_acknowledged_then_matched(api: Process, matcher: Process, stage: Stage):
    """Two crossing orders trade at the maker's price, and order state, positions, book and trades say so."""
    first = api.call("POST", "/orders", order(1))
    assert first.status == 201
    eventually(lambda: stage.ledger("ACME"))
    second = api.call("POST", "/orders", order(2, clientId="c2", side="SELL", price=90, qty=8))
    assert second.status == 201
    eventually(lambda: len(stage.ledger("ACME")) == 3)
    kinds = [(row["seq"], row["type"]) for row in stage.ledger("ACME")]
    assert kinds == [(1, "accepted"), (2, "accepted"), (3, "fill")]
    fill = stage.ledger("ACME")[2]
    assert (fill["price"], fill["qty"], fill["takerOrderId"], fill["makerOrderId"]) == (100, 5, "o2", "o1")
    state = api.call("GET", "/orders/o2?clientId=c2").json
    assert (state["status"], state["filledQty"], state["qty"]) == ("PARTIALLY_FILLED", 5, 8)
    positions = {row["clientId"]: (row["qty"], row["cash"]) for row in stage.items(stage.settings.tables.positions)}
    assert positions == {"c1": (5, -500), "c2": (-5, 500)}
    assert api.call("GET", "/markets/ACME/book").json == {
        "symbol": "ACME",
        "seq": 3,
        "bids": [],
        "asks": [[90, 3, 1]],
    }
    trades = api.call("GET", "/markets/ACME/trades?after=0").json
    assert [t["tradeId"] for t in trades["trades"]] == ["ACME-3"] and trades["next"] == 3
