"""Parse and evaluate JSONPath as Step Functions does, which uses the Jayway library.

A definite path names one value and fails when it is missing. A path with a wildcard, a slice, a filter or `..` is
indefinite: it yields a list, which may be empty.
"""

from __future__ import annotations

import functools
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kit.errors import KitError
from kit.local.stepfunctions.language import jsonpath_filters as filters

_NAME = re.compile(r"[^.\[\]()\s,?*@$'\"][^.\[\]()]*")
_SLICE = re.compile(r"(-?\d+)?\s*:\s*(-?\d+)?(?:\s*:\s*(-?\d+)?)?")
_INDEXES = re.compile(r"-?\d+(\s*,\s*-?\d+)*")
_FUNCTION = re.compile(r"(\w+)\(\s*(-?\d+)?\s*\)")
DEPTH_MAX = 200


class PathInvalid(KitError):
    """The text is not a JSONPath."""


class PathNotFound(KitError):
    """A definite path leads to no value. The message is that of the Jayway library."""


@dataclass(frozen=True, slots=True)
class Names:
    """Select members of an object."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Indexes:
    """Select items of an array; negative ones count from its end."""

    indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """Select a range of an array."""

    start: int | None
    end: int | None
    step: int | None


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Select all members or items."""


@dataclass(frozen=True, slots=True)
class Descent:
    """Select the value and everything below it."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Select the items for which a predicate holds."""

    predicate: filters.Predicate


@dataclass(frozen=True, slots=True)
class Function:
    """Apply a function to the selected value."""

    name: str
    argument: int | None


Step = Names | Indexes | Slice | Wildcard | Descent | Filter | Function


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path without its root."""

    text: str
    steps: tuple[Step, ...]

    @property
    def is_definite(self) -> bool:
        """Whether the path names one value."""
        return all(_is_single(step) for step in self.steps)

    @property
    def is_reference(self) -> bool:
        """Whether the path may be written to: names and single indexes only."""
        return self.is_definite and not any(isinstance(step, Function) for step in self.steps)

    def read(self, document: Any) -> Any:
        """Return the value, or the list of values of an indefinite path. Raises PathNotFound."""
        values, is_definite = [document], True
        may_miss = not self.is_definite
        for position, step in enumerate(self.steps):
            if isinstance(step, Function):
                values = [_apply(step, values[0] if is_definite else values)] if values else []
                is_definite = True
                continue
            is_definite = is_definite and _is_single(step)
            values = [found for value in values for found in _select(step, value, document)]
            if not values and not may_miss:
                raise PathNotFound(self._missing(position))
        return values[0] if is_definite else values

    def _missing(self, position: int) -> str:
        shown = "$" + "".join(_shown(step) for step in self.steps[: position + 1])
        is_leaf = position == len(self.steps) - 1
        return f"No results for path: {shown}" if is_leaf else f"Missing property in path {shown}"


@functools.lru_cache(maxsize=2048)
def parse(text: str) -> Path:
    """Parse a path that begins with `$` or `@`. Raises PathInvalid."""
    if not text or text[0] not in "$@":
        raise PathInvalid(f"path {text!r} does not begin with $")
    return Path(text, tuple(_Parser(text).steps()))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 1

    def steps(self) -> Iterator[Step]:
        text = self._text
        while self._at < len(text):
            if text.startswith("..", self._at):
                self._at += 2
                yield Descent()
                yield self._bracket() if text.startswith("[", self._at) else self._name()
            elif text[self._at] == ".":
                self._at += 1
                yield self._name()
            elif text[self._at] == "[":
                yield self._bracket()
            else:
                raise self._invalid(f"unexpected {text[self._at]!r}")

    def _name(self) -> Step:
        text = self._text
        if text.startswith("*", self._at):
            self._at += 1
            return Wildcard()
        if match := _FUNCTION.match(text, self._at):
            if match[1] not in FUNCTIONS:
                raise self._invalid(f"unknown function {match[1]}")
            self._at = match.end()
            return Function(match[1], None if match[2] is None else int(match[2]))
        match = _NAME.match(text, self._at)
        if match is None or match[0] != match[0].rstrip():
            raise self._invalid("a name is missing")
        self._at = match.end()
        return Names((match[0],))

    def _bracket(self) -> Step:
        end = filters.closing(self._text, self._at, "[", "]")
        if end < 0:
            raise self._invalid("a bracket is not closed")
        inside = self._text[self._at + 1 : end].strip()
        self._at = end + 1
        if inside == "*":
            return Wildcard()
        if inside.startswith("?"):
            return self._filter(inside[1:].strip())
        if inside[:1] in ("'", '"'):
            return Names(tuple(self._quoted(inside)))
        if _INDEXES.fullmatch(inside):
            return Indexes(tuple(int(each) for each in inside.split(",")))
        if (match := _SLICE.fullmatch(inside)) and match[3] != "0":
            start, stop, step = (None if each is None else int(each) for each in match.groups())
            return Slice(start, stop, step)
        raise self._invalid(f"[{inside}] is not understood")

    def _filter(self, expression: str) -> Step:
        if not (expression.startswith("(") and filters.closing(expression, 0, "(", ")") == len(expression) - 1):
            raise self._invalid("a filter is written as [?(…)]")
        try:
            return Filter(filters.parse(expression[1:-1], lambda text: parse(text).read))
        except filters.FilterInvalid as error:
            raise self._invalid(str(error)) from error

    def _quoted(self, inside: str) -> Iterator[str]:
        at = 0
        while True:
            match = filters.QUOTED.match(inside, at)
            if match is None:
                raise self._invalid(f"[{inside}] is not understood")
            # Only the quote itself is escaped in a name; any other backslash belongs to it.
            quote = match[0][0]
            yield match[0][1:-1].replace(f"\\{quote}", quote)
            rest = inside[match.end() :].lstrip()
            if not rest:
                return
            if not rest.startswith(","):
                raise self._invalid(f"[{inside}] is not understood")
            at = len(inside) - len(rest[1:].lstrip())

    def _invalid(self, reason: str) -> PathInvalid:
        return PathInvalid(f"path {self._text!r}: {reason}")


def _is_single(step: Step) -> bool:
    if isinstance(step, Names):
        return len(step.names) == 1
    if isinstance(step, Indexes):
        return len(step.indexes) == 1
    return isinstance(step, Function)


def _select(step: Step, value: Any, document: Any) -> Iterator[Any]:
    if isinstance(step, Names):
        if isinstance(value, dict):
            found = {name: value[name] for name in step.names if name in value}
            # Several names make one object, as in Jayway.
            yield from (list(found.values()) if len(step.names) == 1 else [found])
    elif isinstance(step, Indexes):
        if isinstance(value, list):
            yield from (value[at] for at in step.indexes if -len(value) <= at < len(value))
    elif isinstance(step, Slice):
        if isinstance(value, list):
            yield from value[step.start : step.end : step.step]
    elif isinstance(step, Wildcard):
        yield from _children(value)
    elif isinstance(step, Descent):
        yield from _descendants(value, 0)
    elif isinstance(step, Filter):
        items = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
        yield from (item for item in items if step.predicate(item, document))


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _descendants(value: Any, depth: int) -> Iterator[Any]:
    if depth > DEPTH_MAX:
        raise PathNotFound(f"the document is nested deeper than {DEPTH_MAX} levels")
    yield value
    for child in _children(value):
        if isinstance(child, dict | list):
            yield from _descendants(child, depth + 1)


def _shown(step: Step) -> str:
    if isinstance(step, Names):
        return f"['{step.names[0]}']"
    return f"[{step.indexes[0]}]" if isinstance(step, Indexes) else ""


def _numbers(value: Any) -> list[int | float]:
    items = value if isinstance(value, list) else [value]
    numbers = [item for item in items if isinstance(item, int | float) and not isinstance(item, bool)]
    if not numbers:
        raise PathNotFound("Aggregation function attempted to calculate value using empty array")
    return numbers


def _item(value: Any, at: int) -> Any:
    if not isinstance(value, list) or not -len(value) <= at < len(value):
        raise PathNotFound(f"No results for index {at}")
    return value[at]


FUNCTIONS: dict[str, Callable[[Any, int | None], Any]] = {
    "length": lambda value, _: len(value) if isinstance(value, list | dict | str) else None,
    "size": lambda value, _: len(value) if isinstance(value, list | dict | str) else None,
    "keys": lambda value, _: list(value) if isinstance(value, dict) else None,
    "min": lambda value, _: min(_numbers(value)),
    "max": lambda value, _: max(_numbers(value)),
    "sum": lambda value, _: sum(_numbers(value)),
    "avg": lambda value, _: statistics.fmean(_numbers(value)),
    "stddev": lambda value, _: statistics.pstdev(_numbers(value)),
    "first": lambda value, _: _item(value, 0),
    "last": lambda value, _: _item(value, -1),
    "index": lambda value, at: _item(value, at or 0),
}


def _apply(function: Function, value: Any) -> Any:
    return FUNCTIONS[function.name](value, function.argument)


def write(document: Any, path: Path, value: Any) -> Any:
    """Return a copy of the document with `value` at a reference path. Raises PathNotFound if it cannot hold it."""
    if not path.steps:
        return value
    step, rest = path.steps[0], Path(path.text, path.steps[1:])
    if isinstance(step, Names):
        if not isinstance(document, dict):
            raise PathNotFound(f"{step.names[0]!r} needs an object")
        name = step.names[0]
        return {**document, name: write(document.get(name, {}), rest, value)}
    at = step.indexes[0] if isinstance(step, Indexes) else -1
    if not isinstance(document, list) or not 0 <= at < len(document):
        raise PathNotFound(f"index {at} does not exist")
    return [write(item, rest, value) if index == at else item for index, item in enumerate(document)]
