"""Say which values each kind of parameter accepts. Every value is a text; `catalog` gives each parameter its kind.

A kind is a key of `_KINDS`, or a choice such as "ingress|egress", or a list of such choices: "list:a|b".
"""

import re
from collections.abc import Callable, Iterator, Mapping

from kit.durations import duration_s
from kit.fis_rules.problems import UNKNOWN, Problem, Unknown, suggestion
from kit.fis_rules.specs import ParameterSpec

ALARM_ARNS_MAX = 5
COUNT_MAX = 2_147_483_647
MILLISECONDS_MAX = 600_000
# The prefix of a kind that accepts a list of choices instead of one choice.
LIST_OF = "list:"

_DECIMAL = re.compile(r"\d{1,3}(\.\d+)?", re.ASCII)


def expectation(kind: str, value: str) -> str:
    """Return what the kind expects if it does not accept the value; empty if it does."""
    if "|" in kind:
        choices = kind.removeprefix(LIST_OF).split("|")
        items = split_list(value) if kind.startswith(LIST_OF) else [value]
        return "" if items and set(items) <= set(choices) else f"one of {', '.join(choices)}"
    accepts, expected = _KINDS[kind]
    return "" if accepts(value) else expected


def parameter_problems(
    kind: str, where: str, owner: str, specs: Mapping[str, ParameterSpec], given: Mapping[str, str | Unknown]
) -> Iterator[Problem]:
    """Check the parameters of an action or a target (`kind`). Durations have limits of their own, checked elsewhere."""
    rule = f"{kind}-parameters-known-and-required"
    for name, value in given.items():
        spec = specs.get(name)
        if spec is None:
            yield Problem(rule=rule, path=where, message=f"{owner} has no parameter {name}; {suggestion(name, specs)}")
        elif value is not UNKNOWN and spec.kind != "duration" and (expected := expectation(spec.kind, value)):
            message = f"parameter {name}={value!r} must be {expected}"
            yield Problem(rule=f"{kind}-parameter-value", path=where, message=message)
    for name, spec in specs.items():
        if spec.required and name not in given:
            yield Problem(rule=rule, path=where, message=f"{owner} requires the parameter {name}")


def split_list(value: str) -> list[str]:
    """Split a list at its commas, and strip white space around each item."""
    return [item for item in (part.strip() for part in value.split(",")) if item]


def is_true(value: str) -> bool:
    """Read a boolean parameter. AWS takes `True` as well as `true`."""
    return value.lower() == "true"


def _whole_number(low: int, high: int) -> tuple[Callable[[str], bool], str]:
    def accepts(value: str) -> bool:
        # Twelve digits exceed every limit. `int` is slow on very long texts.
        return value.isascii() and value.isdigit() and low <= int(value[:12]) <= high

    return accepts, f"a whole number between {low} and {high}"


def _are_arns(value: str) -> bool:
    arns = split_list(value)
    return 1 <= len(arns) <= ALARM_ARNS_MAX and all(arn.startswith("arn:") for arn in arns)


_KINDS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "arn": (lambda value: value.startswith("arn:"), "an ARN"),
    "arns": (_are_arns, f"1 to {ALARM_ARNS_MAX} ARNs separated by commas"),
    "boolean": (lambda value: value.lower() in ("true", "false"), "true or false"),
    "count": _whole_number(0, COUNT_MAX),
    "decimal": (
        lambda value: _DECIMAL.fullmatch(value) is not None and float(value) <= 100,
        "a number between 0 and 100",
    ),
    "duration": (lambda value: duration_s(value) is not None, "an ISO 8601 duration such as PT5M"),
    "list": (lambda value: bool(split_list(value)), "a list separated by commas"),
    "milliseconds": _whole_number(0, MILLISECONDS_MAX),
    "percent": _whole_number(0, 100),
    "port": _whole_number(1, 65_535),
    "text": (lambda value: bool(value.strip()), "a text that is not blank"),
}
