"""Evaluate the choices of aws:branch: a comparison, or And, Or and Not of comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kit.local.ssm.references import text_of

AND, OR, NOT = "And", "Or", "Not"


def _text(compare: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, other: compare(text_of(value), text_of(other))


def _number(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, other: compare(float(value), float(other))


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "StringEquals": _text(lambda a, b: a == b),
    "EqualsIgnoreCase": _text(lambda a, b: a.lower() == b.lower()),
    "StartsWith": _text(lambda a, b: a.startswith(b)),
    "EndsWith": _text(lambda a, b: a.endswith(b)),
    "Contains": _text(lambda a, b: b in a),
    "BooleanEquals": _text(lambda a, b: a.lower() == b.lower()),
    "NumericEquals": _number(lambda a, b: a == b),
    "NumericGreater": _number(lambda a, b: a > b),
    "NumericGreaterOrEquals": _number(lambda a, b: a >= b),
    "NumericLesser": _number(lambda a, b: a < b),
    "NumericLesserOrEquals": _number(lambda a, b: a <= b),
}


def find_problem(inputs: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a branch's inputs, or None."""
    choices = inputs.get("Choices")
    if not isinstance(choices, list) or not choices:
        return "aws:branch needs Choices"
    for choice in choices:
        if not isinstance(choice, dict) or not choice.get("NextStep"):
            return "every choice needs NextStep"
        rest = {key: value for key, value in choice.items() if key != "NextStep"}
        if problem := _rule_problem(rest):
            return problem
    return None


def choose_step(inputs: Mapping[str, Any]) -> str | None:
    """Return the step of the first choice that holds, else the default or None. Raises ValueError on a wrong number."""
    for choice in inputs["Choices"]:
        if _holds({key: value for key, value in choice.items() if key != "NextStep"}):
            return choice["NextStep"]
    return inputs.get("Default")


def _rule_problem(rule: Any) -> str | None:
    if not isinstance(rule, dict):
        return f"{rule!r} is not a choice"
    for junction in (AND, OR):
        if junction in rule:
            parts = rule[junction]
            if len(rule) != 1 or not isinstance(parts, list) or not parts:
                return f"{junction} needs a list of choices and no other key"
            return next((problem for part in parts if (problem := _rule_problem(part))), None)
    if NOT in rule:
        return _rule_problem(rule[NOT]) if len(rule) == 1 else "Not allows no other key"
    unknown = sorted(set(rule) - {"Variable"} - set(COMPARISONS))
    if unknown or "Variable" not in rule or len(rule) != 2:
        return f"a choice needs Variable and one of {', '.join(COMPARISONS)}, not {sorted(rule)}"
    return None


def _holds(rule: Mapping[str, Any]) -> bool:
    if AND in rule:
        return all(_holds(part) for part in rule[AND])
    if OR in rule:
        return any(_holds(part) for part in rule[OR])
    if NOT in rule:
        return not _holds(rule[NOT])
    comparison = next(key for key in rule if key != "Variable")
    return COMPARISONS[comparison](rule["Variable"], rule[comparison])
