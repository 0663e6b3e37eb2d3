"""Describe what is wrong with a definition, as ValidateStateMachineDefinition does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kit.local.stepfunctions.language.json_values import as_integer, dump, is_number


@dataclass(frozen=True, slots=True)
class Problem:
    """One diagnostic; `location` is the place in the definition."""

    code: str
    message: str
    location: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message} at {self.location or '/'}"


def schema(message: str, location: str) -> Problem:
    """Return a problem of the definition's form."""
    return Problem("SCHEMA_VALIDATION_FAILED", message, location)


def unsupported(given: Mapping[str, Any], allowed: Collection[str], location: str) -> Iterator[Problem]:
    """Yield a problem for each field that is not allowed."""
    for name in given:
        if name not in allowed:
            yield schema(f"Field '{name}' is not supported", f"{location}/{name}")


def bounded(name: str, value: Any, bounds: tuple[int, int], location: str) -> Iterator[Problem]:
    """Yield a problem if the value is no whole number within the bounds."""
    low, high = bounds
    number = as_integer(value) if is_number(value) else None
    if number is None or not low <= number <= high:
        yield schema(f"{name} must be an integer from {low} to {high}, not {dump(value)}", f"{location}/{name}")
