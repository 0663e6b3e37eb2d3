"""A run's folder as recorded tables: the generator's history in parts, the ledger beside it.

Owns where the files of a run lie; must not know what is in them. The history's summary lists its parts with their
rows, so that a history with a hole cannot be taken for a whole one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing
from kit.integrity.arrays.columns import Space
from kit.integrity.arrays.sources import ParquetSource
from kit.integrity.evidence.tables import COLUMNS, Recorded
from kit.model import LoadStats

HISTORY, LEDGER, SUMMARY_FILE = "history", "ledger", "summary.json"
HISTORY_TABLES = ("attempts", "stream", "connections")
LEDGER_TABLES = ("events", "orders", "positions", "outbox")


def recorded_run(folder: Path, space: Space) -> tuple[dict[str, Recorded], LoadStats | None]:
    """Every table of the run, or why there is none; and what the generator itself counted."""
    recorded: dict[str, Recorded] = {}
    try:
        summary = _summary(folder / HISTORY)
        for name in HISTORY_TABLES:
            recorded[name] = _parts(folder / HISTORY, name, summary, space)
        counted = LoadStats(**{name: summary[name] for name in LoadStats.__slots__})
    except EvidenceMissing as missing:
        recorded |= {name: f"{name}: {missing}" for name in HISTORY_TABLES}
        counted = None
    except KeyError as missing:
        recorded |= {name: f"{name}: {SUMMARY_FILE} lacks {missing}" for name in HISTORY_TABLES}
        counted = None
    for name in LEDGER_TABLES:
        recorded[name] = _table(folder / LEDGER / f"{name}.parquet", name, space)
    return recorded, counted


def _summary(history: Path) -> Mapping[str, Any]:
    try:
        summary = json.loads((history / SUMMARY_FILE).read_text())
    except (OSError, ValueError) as error:
        raise EvidenceMissing(f"{SUMMARY_FILE} cannot be read: {error}") from error
    if not isinstance(summary, dict) or summary.get("finished") is not True:
        raise EvidenceMissing(f"{SUMMARY_FILE} is not finished, the generator did not come to its end")
    return summary


def _parts(history: Path, name: str, summary: Mapping[str, Any], space: Space) -> Recorded:
    listed = summary["segments"][name]
    try:
        source = ParquetSource(name, [history / part for part, _ in listed], COLUMNS[name], space)
    except EvidenceMissing as missing:
        return str(missing)
    wanted = sum(rows for _, rows in listed)
    return source if source.rows == wanted else f"{name}: {source.rows:,} rows, but {SUMMARY_FILE} says {wanted:,}"


def _table(path: Path, name: str, space: Space) -> Recorded:
    try:
        return ParquetSource(name, [path], COLUMNS[name], space)
    except EvidenceMissing as missing:
        return str(missing)
