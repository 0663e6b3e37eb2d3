"""The history of one load, read back from its Parquet parts.

Owns the reading and its strictness; must not know what the rows mean. The summary lists every part, so that a history
with a hole cannot be taken for a whole one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kit.errors import EvidenceMissing
from kit.load.files import ATTEMPTS, COLUMNS, CONNECTIONS, STREAM, SUMMARY_FILE, read_summary, stats_of
from kit.load.segments import SCHEMAS
from kit.model import LoadStats

SORT_KEYS = {ATTEMPTS: "invoked_ns", STREAM: "received_ns", CONNECTIONS: "dialed_ns"}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the clients saw. Columns and dtypes are those of `kit.model`; rows are in the order of their start."""

    attempts: pd.DataFrame
    stream: pd.DataFrame
    connections: pd.DataFrame
    stats: LoadStats
    summary: dict[str, Any]


def read(out_dir: Path) -> History:
    """Read a whole history; `EvidenceMissing` names what is absent, damaged or short."""
    out_dir = Path(out_dir)
    summary = read_summary(out_dir)
    tables = {table: _read_table(out_dir, table, summary) for table in COLUMNS}
    return History(
        attempts=tables[ATTEMPTS],
        stream=tables[STREAM],
        connections=tables[CONNECTIONS],
        stats=stats_of(summary),
        summary=summary,
    )


def _read_table(out_dir: Path, table: str, summary: dict[str, Any]) -> pd.DataFrame:
    listed = summary.get("parts", {}).get(table)
    if listed is None:
        raise EvidenceMissing(f"load in {out_dir}: {SUMMARY_FILE} lists no parts of {table}")
    parts = [_read_part(out_dir / name, rows, SCHEMAS[table]) for name, rows in listed]
    whole = pa.concat_tables(parts) if parts else SCHEMAS[table].empty_table()
    frame = whole.to_pandas().astype(COLUMNS[table])
    assert isinstance(frame, pd.DataFrame)
    return frame.sort_values(SORT_KEYS[table], kind="stable", ignore_index=True)


def _read_part(path: Path, rows: int, schema: pa.Schema) -> pa.Table:
    try:
        part = pq.read_table(path)
    except FileNotFoundError as error:
        raise EvidenceMissing(f"history part {path} is missing") from error
    except (pa.ArrowException, OSError) as error:
        raise EvidenceMissing(f"history part {path} is damaged: {error}") from error
    if part.schema.names != schema.names or part.schema.types != schema.types:
        raise EvidenceMissing(f"history part {path} has the columns {part.schema.names}, wanted {schema.names}")
    if part.num_rows != rows:
        raise EvidenceMissing(f"history part {path} has {part.num_rows} rows, the summary says {rows}")
    return part
