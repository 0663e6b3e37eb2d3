"""Format the steps of a counterexample's timeline: the same in the notebook, the report and JUnit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

CLOCK_CHARS = len("00:00:00.000")


def clock(value: Any) -> str:
    """Format epoch seconds as HH:MM:SS.mmm in UTC; other values as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value or "")
    return dt.datetime.fromtimestamp(value, dt.UTC).strftime("%H:%M:%S.%f")[:-3]


def step_line(step: Mapping[str, Any]) -> str:
    """Format one step: its time, or blanks for a step without one (the state at the end), and what happened."""
    return f"{clock(step.get('t')):>{CLOCK_CHARS}}  {step.get('what', '')}"
