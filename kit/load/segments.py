"""`python -m kit.load.segments DIR`: the process that turns rows into Parquet parts, fed through its standard input.

Owns schemas, part files and when they are written; must not know where rows come from. It is a process and not a
thread because turning rows into columns holds the interpreter's lock for milliseconds, which the generator's schedule
cannot spare. A part is complete or absent (written beside and renamed).
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from kit.load.files import COLUMNS, SUMMARY_FILE, write_json

FLUSH_S = 2.0  # rows wait at most so long for their part
NICENESS = 5  # the generator goes first where both share a core
# Frames: four bytes of length, then a marshalled (word, name, value). Both ends are the same interpreter.
HEADER = struct.Struct("<I")
ROWS, JSON, FINISH, FLUSH = "rows", "json", "finish", "flush"

_ARROW = {"string": pa.string(), "int64": pa.int64(), "int32": pa.int32()}
SCHEMAS = {
    table: pa.schema([(name, _ARROW[kind]) for name, kind in columns.items()]) for table, columns in COLUMNS.items()
}


class Parts:
    """Rows in memory by table, and the parts already written."""

    def __init__(self, out_dir: Path) -> None:
        self._dir = out_dir
        self._rows: dict[str, list[Any]] = {table: [] for table in COLUMNS}
        self._parts: dict[str, list[tuple[str, int]]] = {table: [] for table in COLUMNS}

    def take(self, word: str, name: str, value: Any) -> None:
        """Do what one frame says."""
        if word == ROWS:
            self._rows[name].extend(value)
        elif word == FLUSH:
            self.flush()
        elif word == JSON:
            write_json(self._dir / name, value)
        else:
            self.flush()
            write_json(self._dir / SUMMARY_FILE, {**value, "parts": self._parts, "finished": True})

    def flush(self) -> None:
        for table, rows in self._rows.items():
            if rows:
                name = f"{table}-{len(self._parts[table]):05d}.parquet"
                _write_part(self._dir / name, rows, SCHEMAS[table])
                self._parts[table].append((name, len(rows)))
                self._rows[table] = []


def _write_part(path: Path, rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> None:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    beside = path.with_suffix(".tmp")
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), beside, compression="zstd")
    os.replace(beside, path)


def serve(out_dir: Path, source: BinaryIO) -> None:
    """Write what comes until the source ends; what came without a finish is still written, but not summed up."""
    parts = Parts(out_dir)
    flushed_s = time.monotonic()
    pending = bytearray()
    while True:
        readable, _, _ = select.select([source], [], [], FLUSH_S)
        data = os.read(source.fileno(), 1 << 20) if readable else None
        if data == b"":
            break
        pending += data or b""
        for frame in _frames(pending):
            parts.take(*frame)
        if time.monotonic() - flushed_s >= FLUSH_S:
            parts.flush()
            flushed_s = time.monotonic()
    parts.flush()


def _frames(pending: bytearray) -> list[tuple[str, str, Any]]:
    """Take all whole frames off the front."""
    frames = []
    start = 0
    while len(pending) - start >= HEADER.size:
        (size,) = HEADER.unpack_from(pending, start)
        end = start + HEADER.size + size
        if len(pending) < end:
            break
        frames.append(marshal.loads(memoryview(pending)[start + HEADER.size : end]))
        start = end
    del pending[:start]
    return frames


def main() -> None:
    """Signals are the generator's business: this process ends when its input does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    serve(Path(sys.argv[1]), sys.stdin.buffer)


if __name__ == "__main__":
    main()
