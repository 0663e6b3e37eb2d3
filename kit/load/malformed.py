"""Break one rule of the contract of orders: a name, a number, a word, or the way in which the body is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kit.load.identifiers import LENGTH_MAX

# What breaks the contract: a name that is empty, too long, or has a character that is not accepted …
BAD_NAMES = (
    "", "0" * (LENGTH_MAX + 1), "a b", "a/b", "a%2Fb", "a#b", "a|b", "a\n", "\tk", "caf\u00e9", "cafe\u0301",
    "\uff41\uff42", "\u0661", "a\u0000", "\u212a1",
)  # fmt: skip
NAMED = ("idempotency_key", "order_id", "client_id")
# … a number out of its bounds, or an unknown word …
BAD_VALUES: tuple[dict[str, Any], ...] = (
    *({"qty": qty} for qty in (0, -1, 1_000_000_001)),
    *({"type": "LIMIT", "tif": "GTC", "price": price} for price in (0, -1, 1_000_000_000_001)),
    *({"side": side} for side in ("", "buy", "HOLD")),
    *({"type": kind, "price": 1} for kind in ("", "limit", "STOP")),
    *({"tif": tif} for tif in ("gtc", "DAY")),
    {"type": "MARKET", "tif": "GTC", "price": 0},
    *({"symbol": symbol} for symbol in ("", "acme", "NO-SUCH")),
)

Fields = dict[str, Any]
LIMIT = {"type": "LIMIT", "tif": "GTC"}
DEEP = "[" * 40 + "]" * 40
REQUIRED = ("clientId", "idempotencyKey", "orderId", "symbol", "side", "type", "qty")


def _with(**changed: Any) -> Callable[[Fields], Fields]:
    return lambda fields: fields | changed


def _without(name: str) -> Callable[[Fields], Fields]:
    return lambda fields: {key: value for key, value in fields.items() if key != name}


# … or a field that is missing, unknown, given twice or of another type, or a body that is no JSON object. The part of
# the name before the dot is the field that PaperBroker's refusal must name.
BODY_FAULTS: dict[str, Callable[[Fields], Any]] = {
    "qty.text": lambda fields: fields | {"qty": str(fields["qty"])},
    "price.text": _with(**LIMIT, price="10000"),
    "tiff.unknown": _with(tiff="IOC"),
    "qty.fraction": lambda fields: fields | {"qty": fields["qty"] + 0.5},
    "price.fraction": _with(**LIMIT, price=10_000.5),
    "qty.twice": lambda fields: f'{{"qty":{fields["qty"]},{json.dumps(fields)[1:]}',
    "qty.true": _with(qty=True),
    "qty.null": _with(qty=None),
    "orderId.number": _with(orderId=17),
    "price.missing": lambda fields: _without("price")(fields | LIMIT),
    "body.list": lambda fields: [fields],
    "body.cut": lambda fields: json.dumps(fields)[:-1],
    "body.empty": lambda _: "",
    "body.nan": lambda fields: json.dumps(fields | {"qty": float("nan")}),
    "body.deep": lambda _: DEEP,
    "price.list": _with(**LIMIT, price=[10_000]),
    "side.list": _with(side=["BUY"]),
    "symbol.object": _with(symbol={}),
    "Qty.unknown": lambda fields: fields | {"Qty": fields["qty"]},
    **{f"{name}.missing": _without(name) for name in REQUIRED},
}
_FAULTS = tuple(BODY_FAULTS)
RULES = len(BAD_NAMES) + len(BAD_VALUES) + len(BODY_FAULTS)


def broken_rule(number: int, key: str) -> dict[str, Any]:
    """Return the fields that break rule `number`.

    A bad name is each time in another field. A fault of the body is named in `key`, so that the history shows it.
    """
    turn, rule = divmod(number, RULES)
    if rule % 2 and rule // 2 < len(_FAULTS):
        return {"idempotency_key": f"{key}.{_FAULTS[rule // 2]}"}
    rule -= min(rule // 2, len(_FAULTS)) if rule % 2 == 0 else len(_FAULTS)
    if rule < len(BAD_NAMES):
        return {NAMED[(turn + rule) % len(NAMED)]: BAD_NAMES[rule]}
    return BAD_VALUES[rule - len(BAD_NAMES)]


def written(fields: Fields) -> str:
    """Write the body of a malformed order, with the fault that its key names."""
    _, _, fault = str(fields["idempotencyKey"]).partition(".")
    body = BODY_FAULTS[fault](fields) if fault in BODY_FAULTS else fields
    return body if isinstance(body, str) else json.dumps(body)
