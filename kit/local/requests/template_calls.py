"""Turn the properties of CloudFormation resources into requests of the APIs that make these resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.errors import KitError
from kit.local.requests import models
from kit.local.requests.contract import Contract, contracts
from kit.local.requests.gate import Gate
from kit.local.requests.problems import Refused

_GATE = Gate({})

# Shapes are annotated as `Any`, because type checkers cannot infer the types of botocore's shape classes.


class PropertyRefused(KitError):
    """A property that the operation does not have, or a value that AWS or the local AWS refuses."""


def members(service: str, action: str) -> frozenset[str]:
    """Return the names of the members of an operation's request."""
    shape = models.model(service).operation_model(action).input_shape
    return frozenset(shape.members) if shape is not None else frozenset()


def request_of(service: str, action: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that properties make, checked as the gate checks requests over HTTP.

    The names of properties may differ from the API's in case only. Numbers and booleans may be strings in templates.
    Raises PropertyRefused.
    """
    request = _convert(models.model(service).operation_model(action).input_shape, properties, "")
    try:
        _GATE.check(_contract(service), action, request)
    except Refused as refused:
        raise PropertyRefused(str(refused)) from refused
    return request


def _contract(service: str) -> Contract:
    return next(contract for contract in contracts() if contract.service == service)


def _convert(shape: Any, value: Any, path: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, Mapping):
            raise PropertyRefused(f"property {path} must be an object, but is {value!r}")
        names = {name.lower(): name for name in shape.members}
        converted = {}
        for given, each in value.items():
            name = names.get(given.lower())
            where = f"{path}.{given}" if path else given
            if name is None:
                raise PropertyRefused(f"property {where} is not served here")
            converted[name] = _convert(shape.members[name], each, where)
        return converted
    if kind == "list":
        # A parameter of type CommaDelimitedList may arrive as one string.
        items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
        if not isinstance(items, list):
            raise PropertyRefused(f"property {path} must be a list, but is {value!r}")
        return [_convert(shape.member, each, f"{path}.{index}") for index, each in enumerate(items)]
    if kind == "map":
        return {str(key): _convert(shape.value, each, f"{path}.{key}") for key, each in dict(value).items()}
    return _scalar(kind, value, path)


def _scalar(kind: str, value: Any, path: str) -> Any:
    if kind in ("integer", "long"):
        try:
            return int(value)
        except (TypeError, ValueError):
            raise PropertyRefused(f"property {path} must be a whole number, but is {value!r}") from None
    if kind == "boolean":
        if str(value).lower() not in ("true", "false"):
            raise PropertyRefused(f"property {path} must be true or false, but is {value!r}")
        return str(value).lower() == "true"
    if isinstance(value, Mapping | list):
        raise PropertyRefused(f"property {path} must be a text, but is {value!r}")
    return str(value).lower() if isinstance(value, bool) else str(value)
