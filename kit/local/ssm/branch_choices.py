"""The choices of aws:branch: a comparison, or And, Or and Not of comparisons. Pure."""

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


def problem(inputs: Mapping[str, Any]) -> str | None:
    """What is wrong with a branch's inputs, or None."""
    found = inputs.get("Choices")
    if not isinstance(found, list) or not found:
        return "aws:branch needs Choices"
    for choice in found:
        if not isinstance(choice, dict) or not choice.get("NextStep"):
            return "every choice needs NextStep"
        rest = {key: value for key, value in choice.items() if key != "NextStep"}
        if wrong := _rule_problem(rest):
            return wrong
    return None


def chosen(inputs: Mapping[str, Any]) -> str | None:
    """The step of the first choice that holds, else the default, else None. Raises ValueError on a wrong number."""
    for choice in inputs["Choices"]:
        if _holds({key: value for key, value in choice.items() if key != "NextStep"}):
            return choice["NextStep"]
    return inputs.get("Default")


def _rule_problem(rule: Any) -> str | None:
    if not isinstance(rule, dict):
        return f"{rule!r} is no choice"
    for word in (AND, OR):
        if word in rule:
            parts = rule[word]
            if len(rule) != 1 or not isinstance(parts, list) or not parts:
                return f"{word} needs a list of choices, and nothing beside it"
            return next((wrong for part in parts if (wrong := _rule_problem(part))), None)
    if NOT in rule:
        return _rule_problem(rule[NOT]) if len(rule) == 1 else "Not stands alone"
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
