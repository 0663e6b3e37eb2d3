"""Tell which fields of an order break the contract: the rules that the load breaks on purpose, written once more."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

IDENTIFIER = re.compile(r"[A-Za-z0-9_.:\-]{1,64}")
QTY_MAX, PRICE_MAX = 1_000_000_000, 1_000_000_000_000
SIDES, TIFS = ("BUY", "SELL"), ("GTC", "IOC")
LIMIT, MARKET = "LIMIT", "MARKET"
NAMED = {"client_id": "clientId", "idempotency_key": "idempotencyKey", "order_id": "orderId"}
# The key of an order whose body is at fault ends with the field and what is wrong with it: `run-m7.qty.text`.
FAULT = re.compile(r"[^.]*-m[0-9]+\.([A-Za-z]+)\.[a-z]+")


def broken_fields(row: Mapping[str, Any], markets: Collection[str]) -> set[str]:
    """Return the fields of an attempt's order that break the contract, by their names in the API."""
    if fault := FAULT.fullmatch(row["idempotency_key"]):
        return {fault[1]}
    found = {field for column, field in NAMED.items() if not IDENTIFIER.fullmatch(row[column])}
    kind, price = row["type"], row["price"]
    wrong = {
        "symbol": row["symbol"] not in markets,
        "side": row["side"] not in SIDES,
        "type": kind not in (LIMIT, MARKET),
        "tif": row["tif"] not in TIFS or (kind == MARKET and row["tif"] != "IOC"),
        "qty": not 1 <= row["qty"] <= QTY_MAX,
        "price": (kind == LIMIT and not 1 <= price <= PRICE_MAX) or (kind == MARKET and price != 0),
    }
    return found | {field for field, is_wrong in wrong.items() if is_wrong}
