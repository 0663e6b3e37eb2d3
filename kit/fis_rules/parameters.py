"""The kinds of parameters that `catalog` names, and which texts each kind accepts. Every parameter is a text."""

import re
from collections.abc import Callable, Mapping

from kit.durations import duration_s

ALARM_ARNS_MAX = 5
COUNT_MAX = 2_147_483_647
MILLISECONDS_MAX = 600_000
# A kind that begins so is a list of the choices that follow.
LIST_OF = "list:"

_DECIMAL = re.compile(r"\d{1,3}(\.\d+)?", re.ASCII)


def wanted(kind: str, value: str) -> str:
    """Say what a kind accepts instead of the value; empty when it accepts the value."""
    if "|" in kind:
        choices = kind.removeprefix(LIST_OF).split("|")
        items = split_list(value) if kind.startswith(LIST_OF) else [value]
        return "" if items and set(items) <= set(choices) else f"one of {', '.join(choices)}"
    accepts, words = _KINDS[kind]
    return "" if accepts(value) else words


def split_list(value: str) -> list[str]:
    """Return the items of a list with commas; white space around an item does not count."""
    return [item for item in (part.strip() for part in value.split(",")) if item]


def is_true(value: str) -> bool:
    """Read a boolean parameter. AWS takes `True` as well as `true`."""
    return value.lower() == "true"


def _whole(low: int, high: int) -> tuple[Callable[[str], bool], str]:
    def accepts(value: str) -> bool:
        # Twelve digits exceed every limit; more of them would only make `int` slow.
        return value.isascii() and value.isdigit() and low <= int(value[:12]) <= high

    return accepts, f"a whole number within {low} and {high}"


def _are_arns(value: str) -> bool:
    arns = split_list(value)
    return 1 <= len(arns) <= ALARM_ARNS_MAX and all(arn.startswith("arn:") for arn in arns)


_KINDS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "arn": (lambda value: value.startswith("arn:"), "an ARN"),
    "arns": (_are_arns, f"1 to {ALARM_ARNS_MAX} ARNs separated by commas"),
    "boolean": (lambda value: value.lower() in ("true", "false"), "true or false"),
    "count": _whole(0, COUNT_MAX),
    "decimal": (
        lambda value: _DECIMAL.fullmatch(value) is not None and float(value) <= 100,
        "a number within 0 and 100",
    ),
    "duration": (lambda value: duration_s(value) is not None, "an ISO 8601 duration such as PT5M"),
    "list": (lambda value: bool(split_list(value)), "a list separated by commas"),
    "milliseconds": _whole(0, MILLISECONDS_MAX),
    "percent": _whole(0, 100),
    "port": _whole(1, 65_535),
    "text": (lambda value: bool(value.strip()), "a text that is not empty"),
}
