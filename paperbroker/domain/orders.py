"""Orders and cancels as clients send them: fields, bounds, validation, and what "same content" means."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from paperbroker.errors import InvalidRequest

QTY_MAX_LOTS = 1_000_000_000
PRICE_MAX_TICKS = 1_000_000_000_000
IDENTIFIER = re.compile(r"[A-Za-z0-9_.:\-]{1,64}")

_ORDER_FIELDS = frozenset({"clientId", "idempotencyKey", "orderId", "symbol", "side", "type", "tif", "qty", "price"})
_CANCEL_FIELDS = frozenset({"clientId", "idempotencyKey"})

E = TypeVar("E", bound=StrEnum)


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    LIMIT = "LIMIT"
    MARKET = "MARKET"


class TimeInForce(StrEnum):
    GTC = "GTC"
    IOC = "IOC"


class OrderStatus(StrEnum):
    """The order's mutable state beside the ledger; it only advances."""

    ACCEPTED = "ACCEPTED"
    OPEN = "OPEN"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """A validated order. `qty` in lots, `price` in ticks (0 for MARKET)."""

    client_id: str
    idempotency_key: str
    order_id: str
    symbol: str
    side: Side
    type: OrderType
    tif: TimeInForce
    qty: int
    price: int

    def content_hash(self) -> str:
        """Hash everything but the order id, which a retry may change."""
        return _digest(["order", self.client_id, self.symbol, self.side, self.type, self.tif, self.qty, self.price])


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """A validated cancel."""

    client_id: str
    idempotency_key: str
    order_id: str

    def content_hash(self) -> str:
        return _digest(["cancel", self.client_id, self.order_id])


def idempotency_digest(client_id: str, idempotency_key: str) -> str:
    """Digest (client, key) for the idempotency record and the message id; JSON keeps ("a","bc") ≠ ("ab","c")."""
    return _digest([client_id, idempotency_key])


def parse_order(body: Any, markets: Collection[str]) -> NewOrder:
    """Parse an order from a JSON body. Raises InvalidRequest for the first invalid field."""
    fields = _mapping(body, _ORDER_FIELDS)
    kind = _choice(fields, "type", OrderType)
    symbol = identifier(fields, "symbol")
    if symbol not in markets:
        raise InvalidRequest("symbol", f"unknown market {symbol!r}")
    return NewOrder(
        client_id=identifier(fields, "clientId"),
        idempotency_key=identifier(fields, "idempotencyKey"),
        order_id=identifier(fields, "orderId"),
        symbol=symbol,
        side=_choice(fields, "side", Side),
        type=kind,
        tif=_time_in_force(fields, kind),
        qty=_integer(fields, "qty", QTY_MAX_LOTS),
        price=_price(fields, kind),
    )


def parse_cancel(body: Any, order_id: str) -> CancelOrder:
    """Parse a cancel from a JSON body; the path names the order."""
    fields = _mapping(body, _CANCEL_FIELDS)
    return CancelOrder(
        client_id=identifier(fields, "clientId"),
        idempotency_key=identifier(fields, "idempotencyKey"),
        order_id=identifier({"orderId": order_id}, "orderId"),
    )


def identifier(fields: Mapping[str, Any], name: str) -> str:
    """Return the field if it is a string of 1 to 64 letters, digits or `_.:-`. Raises InvalidRequest otherwise."""
    value = fields.get(name)
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise InvalidRequest(name, "must be a string of 1 to 64 letters, digits or _.:-")
    return value


def _mapping(body: Any, known: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise InvalidRequest("body", "must be a JSON object")
    unknown = sorted(set(body) - known)
    if unknown:  # A misspelt "tif" must not silently become GTC.
        raise InvalidRequest(unknown[0][:64], "unknown field")
    return body


def _choice(fields: Mapping[str, Any], name: str, choices: type[E]) -> E:
    value = fields.get(name)
    if not isinstance(value, str) or value not in choices.__members__:
        raise InvalidRequest(name, f"must be one of {', '.join(choices.__members__)}")
    return choices(value)


def _time_in_force(fields: Mapping[str, Any], kind: OrderType) -> TimeInForce:
    default = TimeInForce.IOC if kind is OrderType.MARKET else TimeInForce.GTC
    if fields.get("tif") is None:
        return default
    tif = _choice(fields, "tif", TimeInForce)
    if kind is OrderType.MARKET and tif is not TimeInForce.IOC:
        raise InvalidRequest("tif", "must be IOC for a MARKET order")
    return tif


def _price(fields: Mapping[str, Any], kind: OrderType) -> int:
    if kind is OrderType.LIMIT:
        return _integer(fields, "price", PRICE_MAX_TICKS)
    if fields.get("price") not in (None, 0) or isinstance(fields.get("price"), bool):
        raise InvalidRequest("price", "must be absent for a MARKET order")
    return 0


def _integer(fields: Mapping[str, Any], name: str, limit: int) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
        raise InvalidRequest(name, f"must be an integer from 1 to {limit}")
    return value


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()
