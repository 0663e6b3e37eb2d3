"""Which of the matching resources are hit: filters and selection modes. Pure, and seeded by its caller."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kit.local.fis.errors import InvalidRequest

T = TypeVar("T")

_MODE = re.compile(r"ALL|(COUNT|PERCENT)\((\d+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionMode:
    """ALL, COUNT(n) or PERCENT(n)."""

    kind: str
    amount: int = 0

    def size_of(self, matching: int) -> int:
        """How many of so many are hit; PERCENT rounds down, as AWS does."""
        if self.kind == "ALL":
            return matching
        if self.kind == "COUNT":
            return min(self.amount, matching)
        return matching * self.amount // 100


def parse_mode(text: str) -> SelectionMode:
    """Parse, or raise InvalidRequest naming the value."""
    match = _MODE.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"selectionMode {text!r} must be ALL, COUNT(n) or PERCENT(n)")
    if match[1] is None:
        return SelectionMode(kind="ALL")
    amount = int(match[2])
    if amount < 1 or (match[1] == "PERCENT" and amount > 100):
        raise InvalidRequest(f"selectionMode {text!r}: COUNT must be at least 1, PERCENT within 1 and 100")
    return SelectionMode(kind=match[1], amount=amount)


def choose(matching: Sequence[T], mode: SelectionMode, dice: random.Random) -> list[T]:
    """A random choice of the mode's size, in the order of `matching`."""
    size = mode.size_of(len(matching))
    if size == len(matching):
        return list(matching)
    chosen = sorted(dice.sample(range(len(matching)), size))
    return [matching[index] for index in chosen]


def passes(described: Mapping[str, Any], filters: Sequence[Mapping[str, Any]]) -> bool:
    """All filters must match; within a filter any value of any branch of its path will do."""
    return all(
        any(_text(found) in each["values"] for found in _walk(described, each["path"].split("."))) for each in filters
    )


def _walk(value: Any, path: Sequence[str]) -> list[Any]:
    if isinstance(value, list | tuple):
        return [found for item in value for found in _walk(item, path)]
    if not path:
        return [value]
    if not isinstance(value, Mapping):
        return []
    # Filter paths are PascalCase whatever the service's own case is.
    for key in (path[0], path[0][:1].lower() + path[0][1:]):
        if key in value:
            return _walk(value[key], path[1:])
    return []


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
