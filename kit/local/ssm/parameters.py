"""Convert the values of runbook parameters and outputs to and from their declared types.

In requests and responses every value is a list of strings; in a runbook it is a string, list, number, boolean or map.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kit.errors import KitError
from kit.local.ssm.errors import InvalidAutomationParameters
from kit.local.ssm.runbook import Parameter

PLAIN_TYPES = frozenset({"String", "StringList", "Integer", "Boolean", "StringMap", "MapList"})
# `AWS::IAM::Role::Arn` and `List<AWS::EC2::Instance::Id>`: strings for which the console shows a selection.
RESOURCE_TYPE = re.compile(r"AWS::[A-Za-z0-9:]+")
RESOURCE_LIST_TYPE = re.compile(r"List<AWS::[A-Za-z0-9:]+>")


class WrongType(KitError):
    """A value does not have its declared type."""


def plain_type(declared: str) -> str | None:
    """Return the plain type of a declared one, or None if there is no such type."""
    if RESOURCE_TYPE.fullmatch(declared):
        return "String"
    if RESOURCE_LIST_TYPE.fullmatch(declared):
        return "StringList"
    return declared if declared in PLAIN_TYPES else None


def bind(declared: Mapping[str, Parameter], given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return every parameter's value. Raises InvalidAutomationParameters, which names the first wrong one."""
    for name in given:
        if name not in declared:
            raise InvalidAutomationParameters(f"parameter {name} is not defined in the document")
    return {name: _bind_one(parameter, given.get(name)) for name, parameter in declared.items()}


def _bind_one(parameter: Parameter, given: Sequence[str] | None) -> Any:
    if given is None:
        if parameter.default is None:
            raise InvalidAutomationParameters(f"parameter {parameter.name} is required and has no value")
        return parameter.default
    try:
        value = from_wire(parameter.type, given)
    except WrongType as error:
        raise InvalidAutomationParameters(f"parameter {parameter.name}: {error}") from error
    for item in value if isinstance(value, list) else [value]:
        if parameter.allowed_values and item not in parameter.allowed_values:
            raise InvalidAutomationParameters(
                f"parameter {parameter.name}={item!r} must be one of {list(parameter.allowed_values)}"
            )
        if parameter.allowed_pattern and not re.search(parameter.allowed_pattern, str(item)):
            raise InvalidAutomationParameters(
                f"parameter {parameter.name}={item!r} must match {parameter.allowed_pattern}"
            )
    return value


def from_wire(declared: str, given: Sequence[str]) -> Any:
    """Convert a request's list of strings. Raises WrongType."""
    kind = plain_type(declared)
    if kind == "StringList":
        return [str(item) for item in given]
    if kind == "MapList":
        return [_map(item) for item in given]
    if len(given) != 1:
        raise WrongType(f"a {declared} takes one value, not {len(given)}")
    if kind == "StringMap":
        return _map(given[0])
    return as_type(declared, given[0])


def as_type(declared: str, value: Any) -> Any:
    """Convert a value of a response or a document. Raises WrongType."""
    kind = plain_type(declared)
    try:
        return _CASTS[kind or ""](value)
    except (KeyError, ValueError, TypeError) as error:
        raise WrongType(f"{value!r} is not a {declared}") from error


def to_wire(value: Any) -> list[str]:
    """Convert a value to the API's list of strings."""
    if isinstance(value, list):
        return [_text(item) for item in value]
    return [_text(value)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _map(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except ValueError as error:
        raise WrongType(f"{text!r} is not a JSON object") from error
    if not isinstance(value, dict):
        raise WrongType(f"{text!r} is not a JSON object")
    return value


def _string(value: Any) -> str:
    if isinstance(value, dict | list) or value is None:
        raise ValueError
    return _text(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[str(value).lower()]


def _list_of(cast: Any) -> Any:
    def as_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError
        return [cast(item) for item in value]

    return as_list


_CASTS: dict[str, Any] = {
    "String": _string,
    "StringList": _list_of(_string),
    "Integer": _integer,
    "Boolean": _boolean,
    "StringMap": _map,
    "MapList": _list_of(_map),
}
