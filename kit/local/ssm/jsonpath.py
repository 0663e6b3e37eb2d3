"""Evaluate the JSONPath subset of runbook outputs: `$.Table.TableStatus`, `$.Items[0].Name`, `$.Items[*].Id`.

Filters, slices and recursive descent are refused when the document is created.
"""

from __future__ import annotations

import re
from typing import Any

from kit.errors import KitError

STEP = re.compile(r"""\.([A-Za-z0-9_-]+)|\.(\*)|\[(\d+)\]|\[(\*)\]|\[['"]([^'"\]]+)['"]\]""")
EVERY = "*"


class SelectorInvalid(KitError):
    """The text is not a selector that the local AWS evaluates."""


class NothingSelected(KitError):
    """The response has no such value."""


def parse(selector: str) -> tuple[str | int, ...]:
    """Return the keys, indices and `*` of a selector."""
    if not selector.startswith("$"):
        raise SelectorInvalid(f"selector {selector!r} must start with $")
    found: list[str | int] = []
    at = 1
    while at < len(selector):
        match = STEP.match(selector, at)
        if match is None:
            raise SelectorInvalid(f"selector {selector!r}: {selector[at:]!r} is not evaluated by the local AWS")
        name, every, index, every_index, quoted = match.groups()
        found.append(int(index) if index is not None else EVERY if every or every_index else name or quoted)
        at = match.end()
    return tuple(found)


def select(selector: str, document: Any) -> Any:
    """Return the selected value, or with a `*` the list of all selected values. Raises NothingSelected."""
    steps = parse(selector)
    values = [document]
    for step in steps:
        values = [found for value in values for found in _follow(value, step)]
    if EVERY in steps:
        return values
    if not values:
        raise NothingSelected(f"{selector} selects nothing")
    return values[0]


def _follow(value: Any, step: str | int) -> list[Any]:
    if step == EVERY:
        return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    if isinstance(step, int):
        return [value[step]] if isinstance(value, list) and step < len(value) else []
    return [value[step]] if isinstance(value, dict) and step in value else []
