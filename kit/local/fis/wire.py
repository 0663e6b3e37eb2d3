"""The wire: routes and constraints of FIS, read from botocore's own model of it.

Turns an HTTP request into (operation, request) and back. Whatever the model constrains (required, lengths,
patterns, enumerations) is checked here; what only the service knows is not. Knows no experiment.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel

from kit.local.fis.errors import FisError, InvalidRequest, NotFound

# botocore's shapes are typed by descriptors that no checker follows: they are `Any` here.
API_VERSION = "2020-12-01"
BODY_BYTES_MAX = 1024 * 1024

Reply = tuple[int, dict[str, str], bytes]
Request = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation: its method and path."""

    operation: Any
    method: str
    path: re.Pattern[str]


@functools.cache
def model() -> Any:
    """FIS as botocore knows it."""
    return ServiceModel(Loader().load_service_model("fis", "service-2", api_version=API_VERSION), "fis")


@functools.cache
def _routes() -> tuple[Route, ...]:
    return tuple(_route(model().operation_model(name)) for name in model().operation_names)


def _route(operation: Any) -> Route:
    def group(match: re.Match[str]) -> str:
        # An ARN has slashes of its own.
        return f"(?P<{match[1]}>{'.+' if match[1] == 'resourceArn' else '[^/]+'})"

    path = re.sub(r"\{(\w+)\}", group, operation.http["requestUri"])
    return Route(operation=operation, method=operation.http["method"], path=re.compile(path))


def read(method: str, path: str, body: bytes, query: Mapping[str, Any]) -> tuple[str, Request]:
    """The operation's name and its validated request."""
    for route in _routes():
        match = route.path.fullmatch(path) if route.method == method else None
        if match is not None:
            request = _parse(route.operation, match.groupdict(), body, query)
            return route.operation.name, request
    raise NotFound(f"no operation {method} {path}")


def answer(value: Mapping[str, Any]) -> Reply:
    """A success."""
    return 200, {"Content-Type": "application/json"}, json.dumps(_without_none(value)).encode()


def refuse(error: FisError) -> Reply:
    """An error, its code in the header and (for clients that read bodies) in `__type`."""
    body = {"__type": error.code, "message": str(error)}
    headers = {"Content-Type": "application/json", "x-amzn-errortype": error.code}
    return error.status, headers, json.dumps(body).encode()


def check(shape_name: str, value: Any) -> None:
    """Raise InvalidRequest unless the value satisfies the model's shape."""
    _check(model().shape_for(shape_name), value, "")


def _parse(operation: Any, uri: Mapping[str, str], body: bytes, query: Mapping[str, Any]) -> Request:
    shape = operation.input_shape
    payload = _load(body)
    request: Request = {}
    for name, member in shape.members.items():
        wire_name = member.serialization.get("name", name)
        location = member.serialization.get("location")
        if location == "uri":
            request[name] = uri.get(wire_name)
        elif location == "querystring":
            request[name] = _from_query(member, query.get(wire_name))
        else:
            request[name] = payload.get(wire_name)
    request = {name: value for name, value in request.items() if value is not None}
    _check(shape, request, "")
    return request


def _load(body: bytes) -> dict[str, Any]:
    if len(body) > BODY_BYTES_MAX:
        raise InvalidRequest(f"body of {len(body)} bytes exceeds {BODY_BYTES_MAX}")
    if not body:
        return {}
    try:
        payload = json.loads(body)
    except ValueError as error:
        raise InvalidRequest(f"the body is no JSON: {error}") from error
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


_TYPES: dict[str, type | tuple[type, ...]] = {
    "structure": dict, "map": dict, "list": list, "string": str, "integer": int, "long": int, "boolean": bool,
}  # fmt: skip


def _check(shape: Any, value: Any, where: str) -> None:
    expected = _TYPES.get(shape.type_name)
    if expected and (not isinstance(value, expected) or _is_wrong_bool(shape, value)):
        raise InvalidRequest(f"{where or 'the request'} must be a {shape.type_name}, not {type(value).__name__}")
    _check_bounds(shape, value, where)
    if shape.type_name == "structure":
        for name in shape.required_members:
            if value.get(name) is None:
                raise _violation(f"{where}.{name}".lstrip("."), None, "Member must not be null")
        for name, member in shape.members.items():
            if value.get(name) is not None:
                _check(member, value[name], f"{where}.{name}".lstrip("."))
    elif shape.type_name == "map":
        for key, item in value.items():
            _check(shape.key, key, f"{where} key")
            _check(shape.value, item, f"{where}.{key}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            _check(shape.member, item, f"{where}[{index}]")


def _is_wrong_bool(shape: Any, value: object) -> bool:
    """A bool is an int to Python and not to JSON."""
    return isinstance(value, bool) and shape.type_name != "boolean"


def _check_bounds(shape: Any, value: Any, where: str) -> None:
    limits = shape.metadata
    if isinstance(value, str | list | dict):
        size, noun = len(value), "length"
    elif isinstance(value, int) and not isinstance(value, bool):
        size, noun = value, "value"
    else:
        return
    if "min" in limits and size < limits["min"]:
        raise _violation(where, value, f"Member must have {noun} greater than or equal to {limits['min']}")
    if "max" in limits and size > limits["max"]:
        raise _violation(where, value, f"Member must have {noun} less than or equal to {limits['max']}")
    if isinstance(value, str):
        if "enum" in limits and value not in limits["enum"]:
            raise _violation(where, value, f"Member must satisfy enum value set: [{', '.join(limits['enum'])}]")
        if "pattern" in limits and not _pattern(limits["pattern"]).fullmatch(value):
            raise _violation(where, value, f"Member must satisfy regular expression pattern: {limits['pattern']}")


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    # Python has no \p{…}: letters and digits are \w, separators \s.
    return re.compile(text.replace(r"\p{L}", r"\w").replace(r"\p{N}", "").replace(r"\p{Z}", r"\s"))


def _violation(where: str, value: Any, constraint: str) -> InvalidRequest:
    shown = "null" if value is None else repr(value)[:120]
    return InvalidRequest(
        f"1 validation error detected: Value {shown} at '{where}' failed to satisfy constraint: {constraint}"
    )


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value
