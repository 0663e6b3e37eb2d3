"""Repeat a run that CPU contention made INVALID, as a suite does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kit.suite.repeat import repeat_reason

ATTEMPTS_MAX = 3

R = TypeVar("R")


def first_valid(attempt: Callable[[int], tuple[R, dict[str, Any]]]) -> tuple[R, dict[str, Any]]:
    """Return the result and verdict record of the first attempt that counts, else of the last one."""
    for number in range(ATTEMPTS_MAX - 1):
        result, record = attempt(number)
        if not repeat_reason(record, None):
            return result, record
    return attempt(ATTEMPTS_MAX - 1)
