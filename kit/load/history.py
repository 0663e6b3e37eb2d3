"""Read back the history of one load. The summary lists every segment, so that an incomplete history is detected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.load.files import ATTEMPTS, COLUMNS, CONNECTIONS, STREAM, read_summary, stats_of
from kit.model import LoadStats

if TYPE_CHECKING:
    import pandas as pd

SORT_KEYS = {ATTEMPTS: "invoked_ns", STREAM: "received_ns", CONNECTIONS: "dialed_ns"}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the clients saw. Columns and dtypes are those of `kit.model`; rows are sorted by their start."""

    attempts: pd.DataFrame
    stream: pd.DataFrame
    connections: pd.DataFrame
    stats: LoadStats
    summary: dict[str, Any]


def read_history(out_dir: Path) -> History:
    """Read a complete history. Raises EvidenceMissing, which names what is absent, damaged or short."""
    # The generator's process imports this package too, and starts faster without pyarrow and pandas.
    from kit.load.segments import read_table

    summary = read_summary(out_dir)
    tables: dict[str, pd.DataFrame] = {}
    for table, columns in COLUMNS.items():
        frame: pd.DataFrame = read_table(out_dir, table, summary).to_pandas().astype(columns)
        tables[table] = frame.sort_values(SORT_KEYS[table], kind="stable", ignore_index=True)
    return History(**tables, stats=stats_of(summary), summary=summary)
