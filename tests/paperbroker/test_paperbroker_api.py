"""PaperBroker's public API: real processes, HTTP, DynamoDB and SQS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from paperbroker.domain.orders import parse_order
from paperbroker.errors import InvalidRequest
from tests.paperbroker.paperbroker_rig import Process, Stage, order_body, running
from tests.polling import wait_until


@pytest.fixture
def api(stage: Stage, tmp_path: Path) -> Iterator[Process]:
    with running("api", stage.env, tmp_path) as process:
        yield process


@pytest.fixture
def matcher(stage: Stage, tmp_path: Path) -> Iterator[Process]:
    with running("matcher", stage.env, tmp_path) as process:
        yield process


def test_order_is_acknowledged_then_matched(api: Process, matcher: Process, stage: Stage):
    """Two crossing orders trade at the maker's price; order state, positions, book and trades show it."""
    first = api.call("POST", "/orders", order_body(1, tif="GTC"))
    assert first.status == 201
    wait_until(lambda: stage.ledger("ACME"))
    second = api.call("POST", "/orders", order_body(2, clientId="c2", side="SELL", price=90, qty=8))
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
    """201, then 200 with the same body, also under another order id, and from many threads at once."""
    first = api.call("POST", "/orders", order_body(1))
    again = api.call("POST", "/orders", order_body(1, orderId="o1-retried"))
    assert (first.status, again.status) == (201, 200)
    assert again.text == first.text
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.call("POST", "/orders", order_body(2)), range(8)))
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert len({answer.text for answer in answers}) == 1


def test_reused_key_or_order_id_with_other_content_is_refused_without_effect(api: Process, stage: Stage):
    """The same key with other content, or the same order id under another key or client, gets 409."""
    api.call("POST", "/orders", order_body(1))
    for second, error in (
        (order_body(1, qty=6), "IdempotencyKeyReused"),
        (order_body(1, symbol="BOLT"), "IdempotencyKeyReused"),
        (order_body(1, idempotencyKey="k-other"), "OrderIdReused"),
        (order_body(1, clientId="c2"), "OrderIdReused"),
    ):
        refused = api.call("POST", "/orders", second)
        assert (refused.status, refused.json) == (409, {"error": error})
    assert len([i for i in stage.items(stage.settings.tables.orders) if i["pk"].startswith("order#")]) == 1
    wait_until(lambda: not stage.outbox())
    assert len(stage.queued()) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (order_body(clientId=""), "clientId"),
        (order_body(idempotencyKey=7), "idempotencyKey"),
        (order_body(orderId="x" * 65), "orderId"),
        (order_body(symbol="NONE"), "symbol"),
        (order_body(side="buy"), "side"),
        (order_body(type="STOP"), "type"),
        (order_body(tif="DAY"), "tif"),
        (order_body(type="MARKET", price=None, tif="GTC"), "tif"),
        (order_body(qty=0), "qty"),
        (order_body(qty=1.5), "qty"),
        (order_body(qty=True), "qty"),
        (order_body(price=None), "price"),
        (order_body(type="MARKET", tif="IOC"), "price"),
        (order_body(pricee=5), "pricee"),
        ([], "body"),
    ],
)
def test_invalid_field_is_named(body: Any, field: str):
    with pytest.raises(InvalidRequest) as caught:
        parse_order(body, {"ACME"})
    assert caught.value.field == field


def test_invalid_request_gets_400_with_the_field(api: Process):
    invalid = api.call("POST", "/orders", order_body(qty=-1))
    assert invalid.status == 400
    assert (invalid.json["error"], invalid.json["field"]) == ("ValidationError", "qty")
    assert api.call("GET", "/markets/NONE/book").json["field"] == "symbol"
    assert api.call("GET", "/markets/ACME/book?depth=0").json["field"] == "depth"
    assert api.call("GET", "/orders/o1").json["field"] == "clientId"
    assert api.call("POST", "/orders", {"padding": "x" * 5000}).json["field"] == "body"
    assert api.call("GET", "/nothing").status == 404


def test_cancel_is_accepted_once_and_carried_out(api: Process, matcher: Process, stage: Stage):
    """202, then 200 with the same body. The ledger has one cancelled event. Another client is refused."""
    api.call("POST", "/orders", order_body(1))
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
    assert api.call("POST", "/orders", order_body(9, idempotencyKey="cancel-1")).status == 409
    assert api.call("GET", "/orders/o1?clientId=c2").status == 403


def test_outbox_is_emptied_in_the_background(api: Process, stage: Stage):
    for n in range(5):
        api.call("POST", "/orders", order_body(n))
    wait_until(lambda: not stage.outbox())
    assert sorted(json.loads(body)["orderId"] for body in stage.queued()) == [f"o{n}" for n in range(5)]
