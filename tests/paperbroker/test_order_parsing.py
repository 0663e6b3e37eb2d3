"""Orders from JSON: the rules between their fields, and which field an error names."""

from __future__ import annotations

from typing import Any

import pytest

from paperbroker.domain.orders import PRICE_MAX_TICKS, QTY_MAX_LOTS, parse_cancel, parse_order
from paperbroker.errors import InvalidRequest
from tests.paperbroker.paperbroker_rig import MARKETS, order_body


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ("LIMIT", "GTC", 100)),
        ({"tif": "GTC"}, ("LIMIT", "GTC", 100)),
        ({"tif": "IOC"}, ("LIMIT", "IOC", 100)),
        ({"type": "MARKET", "price": None}, ("MARKET", "IOC", 0)),
        ({"type": "MARKET", "price": 0, "tif": "IOC"}, ("MARKET", "IOC", 0)),
        ({"price": PRICE_MAX_TICKS, "qty": QTY_MAX_LOTS}, ("LIMIT", "GTC", PRICE_MAX_TICKS)),
        ({"price": 1, "qty": 1}, ("LIMIT", "GTC", 1)),
    ],
)
def test_the_kind_of_an_order_decides_its_time_in_force_and_its_price(changed: dict[str, Any], expected: tuple):
    order = parse_order(order_body(**changed), MARKETS)
    assert (order.type.value, order.tif.value, order.price) == expected
    assert order.qty == changed.get("qty", 5)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"type": "MARKET", "price": None, "tif": "GTC"}, "tif"),
        ({"type": "MARKET", "price": 100}, "price"),
        ({"type": "MARKET", "price": False}, "price"),
        ({"price": None}, "price"),
        ({"price": 0}, "price"),
        ({"price": True}, "price"),
        ({"price": PRICE_MAX_TICKS + 1}, "price"),
        ({"qty": 0}, "qty"),
        ({"qty": QTY_MAX_LOTS + 1}, "qty"),
        ({"qty": "5"}, "qty"),
        ({"qty": 5.9}, "qty"),
        ({"qty": True}, "qty"),
        ({"price": "100"}, "price"),
        ({"symbol": "NONE"}, "symbol"),
        ({"side": "buy"}, "side"),
        ({"clientId": "x" * 65}, "clientId"),
        ({"orderId": "a b"}, "orderId"),
        ({f"x{n:02}": 1 for n in range(20)}, "x00"),
        ({"y" * 80: 1}, "y" * 64),
    ],
)
def test_the_error_names_the_first_field_that_is_wrong(changed: dict[str, Any], field: str):
    """Of unknown fields the first by name, so that the same request always gets the same answer."""
    with pytest.raises(InvalidRequest) as caught:
        parse_order(order_body(**changed), MARKETS)
    assert caught.value.field == field


def test_a_cancel_takes_its_order_from_the_path():
    cancel = parse_cancel({"clientId": "c1", "idempotencyKey": "k1"}, "o1")
    assert (cancel.client_id, cancel.idempotency_key, cancel.order_id) == ("c1", "k1", "o1")
    for body, order_id, field in (({"clientId": "c1"}, "o1", "idempotencyKey"), ({"orderId": "o1"}, "o1", "orderId")):
        with pytest.raises(InvalidRequest) as caught:
            parse_cancel(body, order_id)
        assert caught.value.field == field
