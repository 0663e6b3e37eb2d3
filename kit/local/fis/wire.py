"""Read requests to FIS and write its answers, by botocore's own model: routes, members, constraints."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kit.fis_rules.shapes import ShapeReader, model
from kit.local.fis.errors import FisError, InvalidRequest, NotFound

BODY_BYTES_MAX = 1024 * 1024

Reply = tuple[int, dict[str, str], bytes]
Request = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The method and the path of one operation. Botocore types its operations by descriptors: they are `Any` here."""

    operation: Any
    method: str
    path: re.Pattern[str]


@functools.cache
def _routes() -> tuple[Route, ...]:
    return tuple(_route(model().operation_model(name)) for name in model().operation_names)


def _route(operation: Any) -> Route:
    def group(match: re.Match[str]) -> str:
        # An ARN contains slashes.
        return f"(?P<{match[1]}>{'.+' if match[1] == 'resourceArn' else '[^/]+'})"

    path = re.sub(r"\{(\w+)\}", group, operation.http["requestUri"])
    return Route(operation=operation, method=operation.http["method"], path=re.compile(path))


def read(method: str, path: str, body: bytes, query: Mapping[str, Any]) -> tuple[str, Request]:
    """Return the operation's name and its request. Raises InvalidRequest when the model refuses the request."""
    for route in _routes():
        match = route.path.fullmatch(path) if route.method == method else None
        if match is not None:
            return route.operation.name, _parse(route.operation.input_shape, match.groupdict(), body, query)
    raise NotFound(f"no operation {method} {path}")


def answer(value: Mapping[str, Any]) -> Reply:
    """Write a success."""
    return 200, {"Content-Type": "application/json"}, json.dumps(_without_none(value)).encode()


def refuse(error: FisError) -> Reply:
    """Write an error, with its code in the header and (for clients that read bodies) in `__type`."""
    body = {"__type": error.code, "message": str(error)}
    headers = {"Content-Type": "application/json", "x-amzn-errortype": error.code}
    return error.status, headers, json.dumps(body).encode()


def _parse(shape: Any, uri: Mapping[str, str], body: bytes, query: Mapping[str, Any]) -> Request:
    request = _load(body)
    for name, member in shape.members.items():
        wire_name, location = member.serialization.get("name", name), member.serialization.get("location")
        if location == "uri":
            request[name] = uri.get(wire_name)
        elif location == "querystring":
            request[name] = _from_query(member, query.get(wire_name))
    reader = ShapeReader()
    parsed = reader.read(shape, request, "")
    if reader.problems:
        raise InvalidRequest(f"1 validation error detected: {reader.problems[0]}")
    return parsed


def _load(body: bytes) -> dict[str, Any]:
    if len(body) > BODY_BYTES_MAX:
        raise InvalidRequest(f"body of {len(body)} bytes exceeds {BODY_BYTES_MAX}")
    if not body:
        return {}
    try:
        payload = json.loads(body)
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise InvalidRequest("the body must be a JSON object")
    return payload


def _from_query(shape: Any, values: Any) -> Any:
    if values is None:
        return None
    items = values if isinstance(values, list) else [values]
    if shape.type_name == "list":
        return items
    if shape.type_name == "integer":
        try:
            return int(items[0])
        except ValueError as error:
            raise InvalidRequest(f"{items[0]!r} must be a whole number") from error
    return items[0]


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value
