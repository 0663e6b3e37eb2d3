"""Evaluate the rules of a Choice state."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kit.local.stepfunctions.errors import runtime_error
from kit.local.stepfunctions.language.json_values import dump, is_number
from kit.local.stepfunctions.language.jsonpath import PathInvalid, PathNotFound
from kit.local.stepfunctions.language.scopes import Scope

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d(?::\d\d)?)", re.ASCII)
COMPOSITES = ("And", "Or", "Not")


def timestamp(value: Any) -> datetime | None:
    """Return the time that an ISO 8601 text with an offset names, or None."""
    match = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        at = datetime.fromisoformat(match[1] + ("+00:00" if match[3] == "Z" else match[3]))
    except ValueError:
        return None
    return (at + timedelta(seconds=float(f"0.{match[2] or 0}"))).astimezone(UTC)


def like(text: Any, pattern: str) -> bool:
    """Return whether a text matches a pattern, in which `*` stands for any characters and `\\*` for an asterisk."""
    if not isinstance(text, str):
        return False
    pieces = re.split(r"(\\\\|\\\*|\*)", pattern)
    regex = "".join(
        ".*" if piece == "*" else re.escape(piece.replace("\\*", "*").replace("\\\\", "\\")) for piece in pieces
    )
    return re.fullmatch(regex, text, re.DOTALL) is not None


def _strings(compare: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: isinstance(left, str) and isinstance(right, str) and compare(left, right)


def _numbers(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: is_number(left) and is_number(right) and compare(left, right)


def _times(compare: Callable[[datetime, datetime], bool]) -> Callable[[Any, Any], bool]:
    def check(left: Any, right: Any) -> bool:
        first, second = timestamp(left), timestamp(right)
        return first is not None and second is not None and compare(first, second)

    return check


_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "Equals": lambda left, right: left == right,
    "GreaterThan": lambda left, right: left > right,
    "GreaterThanEquals": lambda left, right: left >= right,
    "LessThan": lambda left, right: left < right,
    "LessThanEquals": lambda left, right: left <= right,
}
# Operators that compare with a value, and with `Path` behind their name with the value at a path.
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    **{f"String{name}": _strings(order) for name, order in _ORDERS.items()},
    **{f"Numeric{name}": _numbers(order) for name, order in _ORDERS.items()},
    **{f"Timestamp{name}": _times(order) for name, order in _ORDERS.items()},
    "BooleanEquals": lambda left, right: isinstance(left, bool) and isinstance(right, bool) and left is right,
}
TYPE_TESTS: Mapping[str, Callable[[Any], bool]] = {
    "IsNull": lambda value: value is None,
    "IsBoolean": lambda value: isinstance(value, bool),
    "IsNumeric": is_number,
    "IsString": lambda value: isinstance(value, str),
    "IsTimestamp": lambda value: timestamp(value) is not None,
}
PRESENT, MATCHES = "IsPresent", "StringMatches"
OPERATORS = frozenset({*COMPARISONS, *(f"{name}Path" for name in COMPARISONS), *TYPE_TESTS, PRESENT, MATCHES})


def holds(rule: Mapping[str, Any], scope: Scope) -> bool:
    """Return whether a rule of a JSONPath state holds. Raises QueryFailed."""
    if "And" in rule:
        return all(holds(each, scope) for each in rule["And"])
    if "Or" in rule:
        return any(holds(each, scope) for each in rule["Or"])
    if "Not" in rule:
        return not holds(rule["Not"], scope)
    operator = next(name for name in rule if name in OPERATORS)
    wanted = rule[operator]
    try:
        value = scope.read(rule["Variable"])
    except (PathNotFound, PathInvalid) as error:
        if operator == PRESENT:
            return wanted is False
        raise runtime_error(
            f"Invalid path '{rule['Variable']}': The choice state's condition path references an invalid value."
        ) from error
    if operator == PRESENT:
        return wanted is True
    if operator in TYPE_TESTS:
        return TYPE_TESTS[operator](value) is wanted
    if operator == MATCHES:
        return like(value, wanted)
    if operator in COMPARISONS:
        return COMPARISONS[operator](value, wanted)
    return COMPARISONS[operator.removesuffix("Path")](value, _read(scope, wanted))


def _read(scope: Scope, path: str) -> Any:
    try:
        return scope.read(path)
    except (PathNotFound, PathInvalid) as error:
        raise runtime_error(
            f"Invalid path '{path}': The choice state's condition path references an invalid value."
        ) from error


def problem_of_value(operator: str, value: Any) -> str | None:
    """Return why an operator does not accept its value, or None."""
    name = operator.removesuffix("Path")
    if operator not in COMPARISONS and name in COMPARISONS:
        return None if isinstance(value, str) and value.startswith("$") else f"{operator} must be a path"
    if operator in TYPE_TESTS or operator == PRESENT or operator == "BooleanEquals":
        return None if isinstance(value, bool) else f"{operator} must be a boolean, not {dump(value)}"
    if operator.startswith("Numeric"):
        return None if is_number(value) else f"{operator} must be a number, not {dump(value)}"
    if operator.startswith("Timestamp") and timestamp(value) is None:
        return f"{operator} must be a timestamp such as 2024-01-31T18:00:00Z, not {dump(value)}"
    return None if isinstance(value, str) else f"{operator} must be a string, not {dump(value)}"
