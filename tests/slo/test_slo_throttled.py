"""Throttled calls to the store per attempt of a client, from the metrics that the API publishes."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from kit import slo
from kit.model import ATTEMPT_COLUMNS, Finding, Phase, Status

NS = 1_000_000_000
T0 = 1_760_000_000
PHASES = (Phase(name="before", start=T0, end=T0 + 10), Phase(name="during", start=T0 + 10, end=T0 + 20))


def attempt(at: float, op: str = "order", kind: str = "first") -> dict[str, Any]:
    """An attempt that was meant to be sent `at` seconds after the start, and was."""
    start = int((T0 + at) * NS)
    row = {"op": op, "kind": kind, "client_id": "c1", "idempotency_key": f"k{at}", "outcome": "ok", "status": 201}
    return row | {"intended_ns": start, "invoked_ns": start, "completed_ns": start + NS // 100}


ROWS = [attempt(9), attempt(11), attempt(12, kind="retry"), attempt(13, op="book"), attempt(20)]


def points(*values: tuple[float, float]) -> Any:
    """A series as CloudWatch gives it: (seconds after the start, value)."""
    return pd.DataFrame([(T0 + at, value) for at, value in values], columns=pd.Index(["t", "value"]), dtype="float64")


def throttled(series: Any, limit: float = 3, rows: list[dict[str, Any]] | None = None) -> Finding:
    rows = ROWS if rows is None else rows
    attempts = pd.DataFrame(
        {
            name: pd.Series([row.get(name, "" if kind == "string" else 0) for row in rows], dtype=kind)
            for name, kind in ATTEMPT_COLUMNS.items()
        }
    )
    objective = slo.Objective(metric="throttled_calls_per_attempt", limit=limit, phase="during")
    (found,) = slo.evaluate(attempts, None, None, None, PHASES, [objective], series=series)
    return found


@pytest.mark.parametrize(("limit", "status"), [(4, Status.PASS), (3.9, Status.FAIL)])
def test_throttled_calls_are_counted_by_attempt_and_the_limit_is_inclusive(limit, status):
    found = throttled({"store_throttled": points((10, 9), (20, 3))}, limit)
    assert (found.status, found.measured, found.unit) == (status, 4.0, "calls")
    assert found.name == "throttled-calls-per-attempt"
    assert found.detail == (
        f"4 calls per attempt (12 throttled calls to the store, 3 attempts), allowed at most {limit} calls"
    )


def test_throttled_calls_include_points_around_the_phase():
    series = points((-0.1, 100), (0, 1), (15, 1), (30, 1), (30.1, 100))
    assert throttled({"store_throttled": series}).measured == 1.0


def test_an_api_that_publishes_no_throttled_calls_had_none():
    found = throttled({"store_throttled": points(), "requests": points((15, 3))}, limit=0)
    assert (found.status, found.measured) == (Status.PASS, 0.0)


@pytest.mark.parametrize(
    ("series", "why"),
    [
        (None, "store_throttled: was not recorded"),
        ({"requests": points((15, 3))}, "store_throttled: was not recorded"),
        ({"store_throttled": points()}, "no samples: the API published nothing in this phase"),
        ({"store_throttled": points(), "requests": points((45, 3))}, "the API published nothing in this phase"),
    ],
)
def test_an_api_that_publishes_nothing_makes_throttled_calls_invalid(series, why):
    found = throttled(series)
    assert (found.status, found.measured) == (Status.INVALID, None)
    assert why in found.detail


def test_throttled_calls_without_attempts_are_invalid():
    assert throttled({"store_throttled": points((15, 9))}, rows=[attempt(5)]).status is Status.INVALID
