"""Find and replace the references of runbooks, `{{ name }}`.

A reference that is the whole text keeps its value's type, so a list stays a list; inside other text it becomes text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

# A parameter, `step.output`, `global:NAME` or `automation:EXECUTION_ID`.
REFERENCE = re.compile(r"\{\{\s*([A-Za-z0-9_.:/-]+)\s*\}\}")
OPENING = re.compile(r"\{\{")
GLOBALS = ("global:ACCOUNT_ID", "global:DATE", "global:DATE_TIME", "global:REGION", "automation:EXECUTION_ID")

Lookup = Callable[[str], Any]


def names_in(value: Any) -> Iterator[str]:
    """Yield every name that a value of a document refers to, at any depth."""
    if isinstance(value, str):
        yield from REFERENCE.findall(value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from names_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from names_in(item)


def malformed_in(value: Any) -> Iterator[str]:
    """Yield the texts in which `{{` does not open a reference."""
    if isinstance(value, str):
        if len(OPENING.findall(value)) != len(REFERENCE.findall(value)):
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from malformed_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from malformed_in(item)


def resolve(value: Any, lookup: Lookup) -> Any:
    """Return the value with every reference replaced by `lookup(name)`."""
    if isinstance(value, dict):
        return {key: resolve(item, lookup) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, lookup) for item in value]
    if not isinstance(value, str):
        return value
    whole = REFERENCE.fullmatch(value.strip())
    if whole is not None:
        return lookup(whole[1])
    return REFERENCE.sub(lambda match: text_of(lookup(match[1])), value)


def text_of(value: Any) -> str:
    """Return a string as it is, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
