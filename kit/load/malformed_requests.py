"""Break one rule of the contract of reads and cancels: in the path, in the query, or in the body of a cancel.

A request keeps the names of a real order, so that a build that does not refuse it has something to reveal or to cancel.
What is wrong with it stands at the end of its key, as for malformed orders (`kit.load.malformed`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from typing import Any

from kit.load.identifiers import LENGTH_MAX
from kit.load.orders import Operation
from kit.model import BOOK, CANCEL, GET_ORDER, TRADES

TOO_LONG = "0" * (LENGTH_MAX + 1)
NOBODY = "nobody"  # a well-formed name beside the right one

# By operation, and by the field that the refusal must name and what is wrong with it: the path and the query …
_READS_OF_ORDERS = {
    "clientId.missing": "/orders/{order}",
    "clientId.empty": "/orders/{order}?clientId=",
    "clientId.twice": "/orders/{order}?clientId={client}&clientId={client}",
    "clientId.last": "/orders/{order}?clientId=" + NOBODY + "&clientId={client}",
    "clientId.first": "/orders/{order}?clientId={client}&clientId=" + NOBODY,
    "clientId.blank": "/orders/{order}?clientId={client}%20",
    "clientId.line": "/orders/{order}?clientId={client}%0A",
    "clientId.star": "/orders/{order}?clientId=*",
    "clientId.list": "/orders/{order}?clientId={client},{client}",
    "clientId.long": "/orders/{order}?clientId=" + TOO_LONG,
    "clientId.lower": "/orders/{order}?clientid={client}",
    "clientId.bare": "/orders/{order}?{client}",
    "orderId.blank": "/orders/{order}%20?clientId={client}",
    "orderId.line": "/orders/{order}%0A?clientId={client}",
    "orderId.long": "/orders/" + TOO_LONG + "?clientId={client}",
}
_NUMBERS = {
    "negative": "{name}=-1", "word": "{name}=all", "empty": "{name}=", "fraction": "{name}=1.5", "plus": "{name}=%2B5",
    "digit": "{name}=%D9%A1", "twice": "{name}=1&{name}=2", "long": "{name}=00000000000000001",
}  # fmt: skip
_UNKNOWN_MARKETS = {"symbol.unknown": "/markets/NO-SUCH/{read}", "symbol.lower": "/markets/{lower}/{read}"}


def _numbers(name: str, **more: str) -> dict[str, str]:
    queries = _NUMBERS | {fault: f"{{name}}={value}" for fault, value in more.items()}
    return {f"{name}.{fault}": f"/markets/{{symbol}}/{{read}}?{query}" for fault, query in queries.items()}


PATHS: dict[str, dict[str, str]] = {
    GET_ORDER: _READS_OF_ORDERS,
    BOOK: {
        fault: path.replace("{read}", "book").replace("{name}", "depth")
        for fault, path in (_numbers("depth", zero="0", above="101") | _UNKNOWN_MARKETS).items()
    },
    TRADES: {
        fault: path.replace("{read}", "trades").replace("{name}", fault.partition(".")[0])
        for fault, path in (_numbers("limit", zero="0", above="501") | _numbers("after") | _UNKNOWN_MARKETS).items()
    },
}
_CANCEL_PATHS = {"orderId.blank": "/orders/{order}%20/cancel", "orderId.long": f"/orders/{TOO_LONG}/cancel"}

Fields = dict[str, Any]


def _without(name: str, **added: Any) -> Callable[[Fields], Fields]:
    return lambda fields: {key: value for key, value in fields.items() if key != name} | added


def _with(**changed: Any) -> Callable[[Fields], Fields]:
    return lambda fields: fields | changed


def _twice(name: str) -> Callable[[Fields], str]:
    return lambda fields: f'{{"{name}":"{NOBODY}",{json.dumps(fields)[1:]}'


# … or the body of a cancel.
CANCEL_BODIES: dict[str, Callable[[Fields], Any]] = {
    **{f"{name}.missing": _without(name) for name in ("clientId", "idempotencyKey")},
    **{f"{name}.empty": _with(**{name: ""}) for name in ("clientId", "idempotencyKey")},
    **{f"{name}.null": _with(**{name: None}) for name in ("clientId", "idempotencyKey")},
    **{f"{name}.number": _with(**{name: 17}) for name in ("clientId", "idempotencyKey")},
    **{f"{name}.twice": _twice(name) for name in ("clientId", "idempotencyKey")},
    "clientId.blank": lambda fields: fields | {"clientId": fields["clientId"] + " "},
    "clientId.list": lambda fields: fields | {"clientId": [fields["clientId"]]},
    "clientid.unknown": lambda fields: _without("clientId", clientid=fields["clientId"])(fields),
    "force.unknown": _with(force=True),
    "body.list": lambda fields: [fields],
    "body.cut": lambda fields: json.dumps(fields)[:-1],
    "body.empty": lambda _: "",
}


def _in_turn() -> Iterator[tuple[str, str]]:
    """Yield the operation and the fault of every rule; operations take turns, so that a short load sends each."""
    named = [[(op, fault) for fault in faults] for op, faults in PATHS.items()]
    named.append([(CANCEL, fault) for fault in (*CANCEL_BODIES, *_CANCEL_PATHS)])
    yield from (rule for rule in chain.from_iterable(zip_longest(*named)) if rule is not None)


RULES = tuple(_in_turn())


def malformed_request(number: int, operation: Operation, key: str) -> Operation:
    """Return a read or cancel of the order `operation` that breaks rule `number`, which the end of its key names."""
    op, fault = RULES[number % len(RULES)]
    return Operation(
        op_id=operation.op_id,
        op=op,
        client_id=operation.client_id,
        idempotency_key=f"{key}.{fault}",
        order_id=operation.order_id if op in (GET_ORDER, CANCEL) else "",
        symbol=operation.symbol,
    )


def written(content: Operation) -> tuple[str, str, str]:
    """Write a malformed read or cancel: method, path with query, and body."""
    _, _, fault = content.idempotency_key.partition(".")
    names = {"order": content.order_id, "client": content.client_id, "symbol": content.symbol}
    if content.op != CANCEL:
        return "GET", PATHS[content.op][fault].format(**names, lower=content.symbol.lower()), ""
    fields = {"clientId": content.client_id, "idempotencyKey": content.idempotency_key}
    body = CANCEL_BODIES[fault](fields) if fault in CANCEL_BODIES else fields
    path = _CANCEL_PATHS.get(fault, "/orders/{order}/cancel").format(**names)
    return "POST", path, body if isinstance(body, str) else json.dumps(body)
