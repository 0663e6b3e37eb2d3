"""Build the tables of what clients saw."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kit.model import Phase

NS = 1_000_000_000
MS = 1_000_000
T0 = 1_760_000_000
PHASES = (
    Phase(name="before", start=T0, end=T0 + 10),
    Phase(name="during", start=T0 + 10, end=T0 + 20),
    Phase(name="after", start=T0 + 20, end=T0 + 30),
)


def table(columns: dict[str, str], rows: list[dict[str, Any]]) -> Any:
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name, "" if kind == "string" else 0) for row in rows], dtype=kind)
            for name, kind in columns.items()
        }
    )


def attempt(at: float, took_ms: float = 10, *, key: str = "", **more: Any) -> dict[str, Any]:
    """An acknowledged first attempt at an order, meant to be sent `at` seconds after the start."""
    start = int((T0 + at) * NS)
    row = {"op": "order", "kind": "first", "client_id": "c1", "idempotency_key": key or f"k{at}", "order_id": f"o{at}"}
    row |= {"intended_ns": start, "invoked_ns": start, "completed_ns": start + int(took_ms * MS)}
    return row | {"outcome": "ok", "status": 201} | more


def timed_out(at: float, took_ms: float = 2000, **more: Any) -> dict[str, Any]:
    return attempt(at, took_ms, **{"outcome": "info", "status": 0, "error": "timeout", **more})
