"""Hash the content of an order: market, side, type, time in force, lots and price.

MARKET orders are IOC and have no price, whatever was sent. An empty time in force is GTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kit.integrity.arrays import hashing
from kit.integrity.arrays.parquet_table import to_numpy

MARKET, IOC, GTC = hashing.one("MARKET"), hashing.one("IOC"), hashing.one("GTC")
# Compared property → column of a ledger row or of a stored order.
LEDGER = {"market": "market", "side": "side", "type": "order_type", "tif": "tif", "qty": "qty", "price": "price"}
# Compared property → column of an attempt, which is also the field of an answer.
CLIENT = {"market": "symbol", "side": "side", "type": "type", "tif": "tif", "qty": "qty", "price": "price"}
REPLY_FIELDS = {"orderId": str, "symbol": str, "side": str, "type": str, "tif": str, "qty": int, "price": int}


def number(columns: Mapping[str, Any], names: Mapping[str, str] = LEDGER) -> np.ndarray:
    """Return one number for each row, equal for equal content."""
    kind, tif = hashing.texts(columns[names["type"]]), hashing.texts(columns[names["tif"]])
    at_market = kind == MARKET
    tif = np.where(at_market, np.uint64(IOC), np.where(tif == 0, np.uint64(GTC), tif))
    price = np.where(at_market, 0, to_numpy(columns[names["price"]]))
    market, side = hashing.texts(columns[names["market"]]), hashing.texts(columns[names["side"]])
    return hashing.rows(market, side, kind, tif, to_numpy(columns[names["qty"]]), price)


def canonical(row: Mapping[str, Any], names: Mapping[str, str] = LEDGER) -> dict[str, Any]:
    """Return one row's content as it is compared."""
    content = {what: row.get(name, "") for what, name in names.items()}
    if content["type"] == "MARKET":
        content |= {"tif": "IOC", "price": 0}
    return content | {"tif": content["tif"] or "GTC", "price": content["price"] or 0, "qty": content["qty"] or 0}


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], verb: str) -> str:
    """Describe how two canonical contents differ; an empty text if they are equal."""
    return ", ".join(
        f"{what} {found[what]} was {verb} as {wanted[what]}" for what in found if found[what] != wanted[what]
    )
