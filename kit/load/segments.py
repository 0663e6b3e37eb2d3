"""Write and read the Parquet segments of a history. A segment is complete or absent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kit.errors import EvidenceMissing, UnreadableFile
from kit.files import replacing
from kit.files.parquet_file import open_parquet
from kit.load.files import COLUMNS, SUMMARY_FILE

_ARROW = {"string": pa.string(), "int64": pa.int64(), "int32": pa.int32()}
SCHEMAS = {
    table: pa.schema([(name, _ARROW[kind]) for name, kind in columns.items()]) for table, columns in COLUMNS.items()
}


def write_segment(path: Path, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Replace `path` by the rows. Raises EvidenceMissing if it cannot be written."""
    schema = SCHEMAS[table]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    with replacing(path) as file:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), file, compression="zstd")


def read_table(out_dir: Path, table: str, summary: dict[str, Any]) -> pa.Table:
    """Read all segments that the summary lists. Raises EvidenceMissing if one is absent, damaged or short."""
    segments = [read_segment(path, table, rows) for path, rows in listed_segments(out_dir, table, summary)]
    return pa.concat_tables(segments) if segments else SCHEMAS[table].empty_table()


def listed_segments(out_dir: Path, table: str, summary: dict[str, Any]) -> list[tuple[Path, int]]:
    """Return the files that the summary lists for a table, with their rows. Raises EvidenceMissing."""
    segments = summary.get("segments")
    listed = segments.get(table) if isinstance(segments, dict) else None
    if not isinstance(listed, list):
        raise EvidenceMissing(f"load in {out_dir}: {SUMMARY_FILE} lists no segments of {table}")
    try:
        named = [(out_dir / Path(str(name)).name, int(rows)) for name, rows in listed]
    except (TypeError, ValueError) as error:
        raise EvidenceMissing(f"{SUMMARY_FILE}: segments of {table} are not [file name, rows] each: {error}") from error
    if len({path for path, _ in named}) != len(named):
        raise EvidenceMissing(f"load in {out_dir}: {SUMMARY_FILE} lists a segment of {table} twice")
    return named


def read_segment(path: Path, table: str, rows: int) -> pa.Table:
    """Read one segment. Raises EvidenceMissing if it is absent, damaged, or has other columns or rows than expected."""
    schema = SCHEMAS[table]
    try:
        segment = open_parquet(path).read()
    except (UnreadableFile, pa.ArrowException, OSError) as error:
        raise EvidenceMissing(f"history segment {error}") from error
    if segment.schema.names != schema.names or segment.schema.types != schema.types:
        raise EvidenceMissing(f"history segment {path} has the columns {segment.schema.names}, expected {schema.names}")
    if segment.num_rows != rows:
        raise EvidenceMissing(f"history segment {path} has {segment.num_rows} rows, the summary lists {rows}")
    return segment
