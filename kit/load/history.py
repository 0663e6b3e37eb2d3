"""The history on disk: Parquet parts that are written while the load runs, and their strict reading.

Owns file names, the columns' types and the summary; must not know what the rows mean. A part is complete or absent
(written beside and renamed), and the summary lists every part, so that a history with a hole cannot be taken for a
whole one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kit.errors import EvidenceMissing
from kit.model import ATTEMPT_COLUMNS, CONNECTION_COLUMNS, STREAM_COLUMNS, LoadStats

if TYPE_CHECKING:
    import pandas as pd

ATTEMPTS, STREAM, CONNECTIONS = "attempts", "stream", "connections"
COLUMNS = {ATTEMPTS: ATTEMPT_COLUMNS, STREAM: STREAM_COLUMNS, CONNECTIONS: CONNECTION_COLUMNS}
SORT_KEYS = {ATTEMPTS: "invoked_ns", STREAM: "received_ns", CONNECTIONS: "dialed_ns"}
SUMMARY_FILE = "summary.json"
PROGRESS_FILE = "progress.json"

# Rows turned into columns at once: Arrow holds the interpreter's lock meanwhile, and the loop waits for it.
ROWS_AT_ONCE = 256
WRITES_WAITING_MAX = 20  # flushes that the disk may be behind

_ARROW = {"string": pa.string(), "int64": pa.int64(), "int32": pa.int32()}
SCHEMAS = {
    table: pa.schema([(name, _ARROW[kind]) for name, kind in columns.items()]) for table, columns in COLUMNS.items()
}

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the clients saw. Columns and dtypes are those of `kit.model`; rows are in the order of their start."""

    attempts: pd.DataFrame
    stream: pd.DataFrame
    connections: pd.DataFrame
    stats: LoadStats
    summary: dict[str, Any]


class Writer:
    """Writes parts in one thread of its own. `add` and `flush` never wait for the disk.

    Rows are kept as they come and turned into tuples by `as_row` in the thread, so that the loop does not pay for it.
    """

    def __init__(self, out_dir: Path, as_row: dict[str, Callable[[Any], Row]] | None = None) -> None:
        self._dir = out_dir
        self._as_row = as_row or {}
        self._rows: dict[str, list[Any]] = {table: [] for table in COLUMNS}
        self._parts: dict[str, list[tuple[str, int]]] = {table: [] for table in COLUMNS}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")
        self._writes: list[Future[None]] = []

    def add(self, table: str, row: Any) -> None:
        self._rows[table].append(row)

    def flush(self) -> None:
        """Hand what has come since the last call to the thread; raises what the thread ran into before."""
        self._check_writes()
        for table, rows in self._rows.items():
            if rows:
                self._rows[table] = []
                name = f"{table}-{len(self._parts[table]):05d}.parquet"
                self._parts[table].append((name, len(rows)))
                self._writes.append(self._thread.submit(self._write, table, name, rows))

    def put_json(self, name: str, value: dict[str, Any]) -> None:
        """Replace a small JSON file, in the thread."""
        self._writes.append(self._thread.submit(write_json, self._dir / name, value))

    def finish(self, summary: dict[str, Any]) -> None:
        """Write all that is left and then, last of all, the summary that makes the history whole."""
        self.flush()
        self._thread.shutdown(wait=True)
        for write in self._writes:
            write.result()
        write_json(self._dir / SUMMARY_FILE, {**summary, "parts": self._parts, "finished": True})

    def _check_writes(self) -> None:
        for write in self._writes:
            if write.done():
                write.result()
        self._writes = [write for write in self._writes if not write.done()]
        if len(self._writes) > WRITES_WAITING_MAX:
            raise EvidenceMissing(f"history in {self._dir}: the disk is {len(self._writes)} writes behind")

    def _write(self, table: str, name: str, rows: list[Any]) -> None:
        as_row = self._as_row.get(table)
        schema = SCHEMAS[table]
        path = self._dir / name
        beside = path.with_suffix(".tmp")
        with pq.ParquetWriter(beside, schema, compression="zstd") as sink:
            batches: list[pa.RecordBatch] = []
            for start in range(0, len(rows), ROWS_AT_ONCE):
                chunk = rows[start : start + ROWS_AT_ONCE]
                batches.append(_batch([as_row(row) for row in chunk] if as_row else chunk, schema))
            sink.write_table(pa.Table.from_batches(batches))
        os.replace(beside, path)


def _batch(rows: Sequence[Row], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace the file in one step: a reader sees the old or the new one."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(value))
    os.replace(beside, path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file; None if there is no such file."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise EvidenceMissing(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise EvidenceMissing(f"{path}: holds {type(value).__name__}, not an object")
    return value


def read_summary(out_dir: Path) -> dict[str, Any]:
    """The summary of a load that came to its end; `EvidenceMissing` if it did not."""
    summary = read_json(out_dir / SUMMARY_FILE)
    if summary is None or summary.get("finished") is not True:
        raise EvidenceMissing(f"load in {out_dir}: no finished {SUMMARY_FILE}, the generator did not come to its end")
    return summary


def stats_of(summary: dict[str, Any]) -> LoadStats:
    try:
        return LoadStats(**{name: summary[name] for name in LoadStats.__slots__})
    except KeyError as error:
        raise EvidenceMissing(f"{SUMMARY_FILE}: {error.args[0]!r} is missing") from error


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
    import pandas as pd  # here, because the generator's process never reads and should start fast

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
