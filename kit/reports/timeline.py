"""One step of a counterexample's timeline as text: the same in the notebook, the report and JUnit.

Owns how a moment is written.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

CLOCK_CHARS = len("00:00:00.000")


def clock(value: Any) -> str:
    """Epoch seconds as HH:MM:SS.mmm in UTC, which is what a timeline needs."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value or "")
    return dt.datetime.fromtimestamp(value, dt.UTC).strftime("%H:%M:%S.%f")[:-3]


def step_line(step: Mapping[str, Any]) -> str:
    """The moment, or room for it where a step has none (what is stored in the end), and what happened."""
    return f"{clock(step.get('t')):>{CLOCK_CHARS}}  {step.get('what', '')}"
