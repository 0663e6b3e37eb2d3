"""Find the recorded tables in a run's folder: the clients' history, the exchange's ledger, its past and the metrics.

`history/summary.json` lists the history's Parquet files with their rows, so that an incomplete history is noticed. What
clients sent before the load, in `past/`, precedes the history, so that every check knows the orders of the past.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kit.errors import EvidenceMissing, UnreadableFile
from kit.files import read_object
from kit.integrity.arrays.columns import ColumnStorage
from kit.integrity.arrays.parquet_table import ParquetTable
from kit.model import (
    ATTEMPT_COLUMNS,
    CONNECTION_COLUMNS,
    LEDGER_EVENT_COLUMNS,
    MARK_COLUMNS,
    ORDER_COLUMNS,
    OUTBOX_COLUMNS,
    POSITION_COLUMNS,
    SERIES_COLUMNS,
    STREAM_COLUMNS,
    LoadStats,
)

HISTORY, LEDGER, PLATFORM, PAST, SUMMARY_FILE = "history", "ledger", "platform", "past", "summary.json"
SUMMARY = f"{HISTORY}/{SUMMARY_FILE}"
HISTORY_TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"attempts": ATTEMPT_COLUMNS, "stream": STREAM_COLUMNS, "connections": CONNECTION_COLUMNS}
)
LEDGER_TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "events": LEDGER_EVENT_COLUMNS,
        "orders": ORDER_COLUMNS,
        "positions": POSITION_COLUMNS,
        "outbox": OUTBOX_COLUMNS,
        "marks": MARK_COLUMNS,
    }
)
# The events that the ledger had before the load.
PAST_TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType({"past": LEDGER_EVENT_COLUMNS})
# Table of the history → what precedes it.
PAST_HISTORY: Mapping[str, str] = MappingProxyType({"attempts": f"{PAST}/attempts.parquet"})
PLATFORM_TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType({"series": SERIES_COLUMNS})


class RunFolder:
    """The tables of one run.

    `defects` says by table why it is no evidence, `load` what the generator counted. The first `past_attempts` rows of
    the attempts were sent before the load.
    """

    def __init__(self, folder: Path, storage: ColumnStorage) -> None:
        self.tables: dict[str, ParquetTable] = {}
        self.defects: dict[str, str] = {}
        self.load: LoadStats | None = None
        self.past_attempts = 0
        try:
            summary = _summary(folder / HISTORY / SUMMARY_FILE)
            self.load = _load_stats(summary)
            files = {name: _listed_files(summary, name) for name in HISTORY_TABLES}
        except EvidenceMissing as missing:
            self.defects |= {name: f"{name}: {missing}" for name in HISTORY_TABLES}
            files = {}
        for name, listed in files.items():
            paths = [folder / HISTORY / file for file in listed]
            self._add(name, paths, HISTORY_TABLES[name], storage)
            rows = sum(listed.values())
            if name in self.tables and self.tables[name].rows != rows:
                found = f"{self.tables.pop(name).rows:,} rows in {HISTORY}"
                self.defects[name] = f"{name}: {found}, but {SUMMARY} says {rows:,}"
            if name in self.tables and name in PAST_HISTORY:
                self._add(name, [folder / PAST_HISTORY[name], *paths], HISTORY_TABLES[name], storage)
                self.past_attempts = self.tables[name].rows - rows if name in self.tables else 0
        for where, tables in ((LEDGER, LEDGER_TABLES), (PLATFORM, PLATFORM_TABLES)):
            for name, types in tables.items():
                self._add(name, [folder / where / f"{name}.parquet"], types, storage)
        for name, types in PAST_TABLES.items():
            self._add(name, [folder / PAST / "events.parquet"], types, storage)

    def _add(self, name: str, paths: list[Path], types: Mapping[str, str], storage: ColumnStorage) -> None:
        self.tables.pop(name, None)
        try:
            self.tables[name] = ParquetTable(name, paths, types, storage)
        except EvidenceMissing as missing:
            self.defects[name] = str(missing)


def _summary(path: Path) -> Mapping[str, Any]:
    try:
        summary = read_object(path)
    except UnreadableFile as error:
        raise EvidenceMissing(f"{SUMMARY} cannot be read, expected the JSON summary of a load: {error}") from error
    if summary.get("finished") is not True:
        raise EvidenceMissing(f'{SUMMARY} does not say "finished": true, the load generator did not come to its end')
    return summary


def _load_stats(summary: Mapping[str, Any]) -> LoadStats:
    numbers = {name: summary.get(name) for name in LoadStats.__slots__}
    for name, number in numbers.items():
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise EvidenceMissing(f"{SUMMARY} has {name}={number!r}, expected a number")
    return LoadStats(**numbers)  # type: ignore[arg-type]


def _listed_files(summary: Mapping[str, Any], name: str) -> dict[str, int]:
    """Return the table's files with their numbers of rows."""
    try:
        return {Path(str(file)).name: int(rows) for file, rows in summary["segments"][name]}
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceMissing(f"{SUMMARY} lists no segments of {name}, expected [file name, rows] of each") from error
