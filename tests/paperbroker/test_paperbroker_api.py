"""PaperBroker as its clients see it: real processes, real HTTP and WebSocket, a real DynamoDB and SQS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from paperbroker.domain.orders import parse_order
from paperbroker.errors import InvalidRequest
from tests.paperbroker.paperbroker_rig import Process, Stage, running
from tests.polling import wait_until


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
    wait_until(lambda: stage.ledger("ACME"))
    second = api.call("POST", "/orders", order(2, clientId="c2", side="SELL", price=90, qty=8))
    assert second.status == 201
    wait_until(lambda: len(stage.ledger("ACME")) == 3)
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


def test_retry_gets_the_first_answer_byte_for_byte(api: Process):
    """201, then 200 with the same body, also under another order id; and at once from many threads."""
    first = api.call("POST", "/orders", order(1))
    again = api.call("POST", "/orders", order(1, orderId="o1-retried"))
    assert (first.status, again.status) == (201, 200)
    assert again.text == first.text
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.call("POST", "/orders", order(2)), range(8)))
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert len({answer.text for answer in answers}) == 1


def test_reuse_with_other_meaning_is_refused_without_effect(api: Process, stage: Stage):
    """Same key, other content; other key or client, same order id: 409 with its name, and still one order."""
    api.call("POST", "/orders", order(1))
    for second, error in (
        (order(1, qty=6), "IdempotencyKeyReused"),
        (order(1, symbol="BOLT"), "IdempotencyKeyReused"),
        (order(1, idempotencyKey="k-other"), "OrderIdReused"),
        (order(1, clientId="c2"), "OrderIdReused"),
    ):
        refused = api.call("POST", "/orders", second)
        assert (refused.status, refused.json) == (409, {"error": error})
    assert len([i for i in stage.items(stage.settings.tables.orders) if i["pk"].startswith("order#")]) == 1
    wait_until(lambda: not stage.items(stage.settings.tables.outbox))
    assert len(stage.queued()) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (order(clientId=""), "clientId"),
        (order(idempotencyKey=7), "idempotencyKey"),
        (order(orderId="x" * 65), "orderId"),
        (order(symbol="NONE"), "symbol"),
        (order(side="buy"), "side"),
        (order(type="STOP"), "type"),
        (order(tif="DAY"), "tif"),
        (order(type="MARKET", price=None, tif="GTC"), "tif"),
        (order(qty=0), "qty"),
        (order(qty=1.5), "qty"),
        (order(qty=True), "qty"),
        (order(price=None), "price"),
        (order(type="MARKET", tif="IOC"), "price"),
        (order(pricee=5), "pricee"),
        ([], "body"),
    ],
)
def test_wrong_field_is_named(body: Any, field: str):
    with pytest.raises(InvalidRequest) as caught:
        parse_order(body, {"ACME"})
    assert caught.value.field == field


def test_wrong_requests_are_answered_400_with_the_field(api: Process):
    wrong = api.call("POST", "/orders", order(qty=-1))
    assert wrong.status == 400
    assert (wrong.json["error"], wrong.json["field"]) == ("ValidationError", "qty")
    assert api.call("GET", "/markets/NONE/book").json["field"] == "symbol"
    assert api.call("GET", "/markets/ACME/book?depth=0").json["field"] == "depth"
    assert api.call("GET", "/orders/o1").json["field"] == "clientId"
    assert api.call("POST", "/orders", {"padding": "x" * 5000}).json["field"] == "body"
    assert api.call("GET", "/nothing").status == 404


def test_cancel_is_asked_once_and_carried_out(api: Process, matcher: Process, stage: Stage):
    """202, then 200 with the same body; the ledger holds one cancelled event; strangers are refused."""
    api.call("POST", "/orders", order(1))
    wait_until(lambda: stage.ledger("ACME"))
    body = {"clientId": "c1", "idempotencyKey": "cancel-1"}
    first, again = (api.call("POST", "/orders/o1/cancel", body) for _ in range(2))
    assert (first.status, again.status, first.text) == (202, 200, again.text)
    assert first.json["status"] == "CANCEL_REQUESTED"
    row = wait_until(lambda: stage.ledger("ACME")[1:])[0]
    assert (row["type"], row["reason"], row["qty"], row["idempotencyKey"]) == ("cancelled", "client", 5, "cancel-1")
    assert api.call("GET", "/orders/o1?clientId=c1").json["status"] == "CANCELLED"
    assert api.call("POST", "/orders/o1/cancel", body | {"clientId": "c2"}).json == {"error": "NotOwner"}
    assert api.call("POST", "/orders/none/cancel", body).status == 404
    assert api.call("POST", "/orders", order(9, idempotencyKey="cancel-1")).status == 409
    assert api.call("GET", "/orders/o1?clientId=c2").status == 403


def test_outbox_is_emptied_in_the_background(api: Process, stage: Stage):
    """The outbox is empty soon after the answers: sent and forgotten in the background."""
    for n in range(5):
        api.call("POST", "/orders", order(n))
    wait_until(lambda: not stage.items(stage.settings.tables.outbox))
    assert sorted(json.loads(body)["orderId"] for body in stage.queued()) == [f"o{n}" for n in range(5)]
