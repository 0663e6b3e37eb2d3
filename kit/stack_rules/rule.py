"""Define what a rule about the stack's template is, and the conditions that its values must meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kit.files.cloudformation_file import PREFIX, is_function
from kit.stack_rules.template import MISSING, REF, Template

Where = Callable[[Template, str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One place of a template that breaks a rule. `place` names the resource and the property."""

    rule: str
    place: str
    detail: str

    def __str__(self) -> str:
        return f"{self.place} {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A promise of the stack. `find` yields a place and what is wrong there; `why` says what breaks otherwise."""

    name: str
    why: str
    find: Callable[[Template], Iterable[tuple[str, str]]]

    def violations(self, template: Template) -> Iterator[Violation]:
        """Find all places that break the rule. A template whose shape a rule cannot read breaks it, too."""
        try:
            found = list(self.find(template))
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            found = [(self.name, f"cannot be judged: a value has another shape than CloudFormation's ({error!r})")]
        for place, detail in found:
            yield Violation(rule=self.name, place=place, detail=f"{detail}: {self.why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a value must be: the test and its words."""

    text: str
    holds: Callable[[Any], bool]


def equal(*accepted: Any) -> Condition:
    """Accept the given values. Numbers and their texts are the same, as in CloudFormation."""
    texts = {_text(value) for value in accepted}
    return Condition(text=" or ".join(map(_text, accepted)), holds=lambda value: _text(value) in texts)


def between(lowest: float, highest: float) -> Condition:
    """Accept numbers from `lowest` to `highest`."""
    return Condition(text=f"{lowest:g} to {highest:g}", holds=lambda value: lowest <= _number(value) <= highest)


def at_least(lowest: float) -> Condition:
    """Accept numbers that are not below `lowest`."""
    return Condition(text=f"at least {lowest:g}", holds=lambda value: _number(value) >= lowest)


def absent() -> Condition:
    """Accept only a property that is not set."""
    return Condition(text="no value", holds=lambda value: value is MISSING)


def present() -> Condition:
    """Accept any value that is set and not empty."""
    return Condition(text="a value", holds=lambda value: value is not MISSING and value not in ("", [], {}, None))


def reference(parameter: str) -> Condition:
    """Accept a reference to a parameter of the template."""
    return Condition(text=f"!Ref {parameter}", holds=lambda value: value == {REF: parameter})


def properties(
    kind: str,
    path: str | tuple[str, ...],
    condition: Condition,
    why: str,
    *,
    default: Any = MISSING,
    where: Where | None = None,
    unresolved: bool = False,
) -> Rule:
    """Make a rule about one property of all resources of a type, or of those that `where` accepts.

    `default` is AWS's value when the property is not set. `unresolved` judges the value as it is written, so that a
    reference is not replaced by its parameter's default. No resource at all breaks the rule, too.
    """
    steps = tuple(path.split(".")) if isinstance(path, str) else path
    label = ".".join(steps)

    def find(template: Template) -> Iterator[tuple[str, str]]:
        chosen = {n: p for n, p in template.of_type(kind).items() if where is None or where(template, n)}
        if not chosen:
            yield kind, "does not exist in this role"
        for name, values in chosen.items():
            found = [default if value is MISSING else value for value in template.at(values, steps)]
            literals = found if unresolved else [literal for value in found for literal in template.possible(value)]
            if not literals:
                yield f"{name}.{label}", f"is empty, expected {condition.text}"
            for literal in literals:
                if not condition.holds(literal):
                    yield f"{name}.{label}", f"is {shown(literal)}, expected {condition.text}"

    return Rule(name=f"{kind.rpartition('::')[2]}.{label}", why=why, find=find)


def shown(value: Any) -> str:
    """Show a value as a template has it, functions in their short form, shortened."""
    if isinstance(value, Mapping) and len(value) == 1 and is_function(value):
        (function, argument), *_ = value.items()
        return f"!{function.removeprefix(PREFIX)} {argument}"[:120]
    return repr(value)[:120]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> float:
    """Return the number that a value stands for; NaN, which no bound accepts, for anything else."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else float("nan")
    except ValueError:
        return float("nan")
