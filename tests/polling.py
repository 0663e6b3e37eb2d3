"""Wait for a condition in tests. A failure shows the last value of the condition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

# Liveness, not speed: long enough for a machine that runs several tests at once.
TIMEOUT_S = 30.0
INTERVAL_S = 0.02
# A measured time may be this much shorter than the delay that was asked for. uvloop's clock counts whole milliseconds,
# and the delay and its measurement may use different clocks.
CLOCK_STEP_S = 0.001

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T | None],
    what: str = "the condition",
    timeout_s: float = TIMEOUT_S,
    *,
    interval_s: float = INTERVAL_S,
) -> T:
    """Call `predicate` until its value is true, and return that value. Raises AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (value := predicate()):
        assert time.monotonic() < deadline, _message(what, timeout_s, value)
        time.sleep(interval_s)
    return value


def wait_for_value(
    probe: Callable[[], T],
    expected: T,
    what: str = "the value",
    timeout_s: float = TIMEOUT_S,
    *,
    interval_s: float = INTERVAL_S,
) -> None:
    """Call `probe` until it returns `expected`. Raises AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while (value := probe()) != expected:
        assert time.monotonic() < deadline, f"{_message(what, timeout_s, value)}, expected {expected!r}"
        time.sleep(interval_s)


async def wait_until_async(
    predicate: Callable[[], T | None],
    what: str = "the condition",
    timeout_s: float = TIMEOUT_S,
    *,
    interval_s: float = INTERVAL_S / 4,
) -> T:
    """Do as `wait_until` does without blocking the event loop."""
    deadline = time.monotonic() + timeout_s
    while not (value := predicate()):
        assert time.monotonic() < deadline, _message(what, timeout_s, value)
        await asyncio.sleep(interval_s)
    return value


def _message(what: str, timeout_s: float, value: object) -> str:
    return f"not within {timeout_s:g} s: {what}; last value: {value!r}"
