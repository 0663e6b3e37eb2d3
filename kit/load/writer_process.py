"""`python -m kit.load.writer_process DIR`: write the rows that arrive on standard input as Parquet segments.

This is a process and not a thread, because turning rows into columns holds the interpreter's lock for milliseconds,
which would delay the generator's sends.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from kit.errors import EvidenceMissing
from kit.files import write_json
from kit.load.files import COLUMNS, FLUSH, FRAME_HEADER, JSON, ROWS, SUMMARY_FILE
from kit.load.segments import write_segment

FLUSH_S = 2.0  # the longest time that rows wait for their segment
NICENESS = 5  # the generator has priority where both share a core


class SegmentWriter:
    """Collects rows by table and writes them as numbered segments."""

    def __init__(self, out_dir: Path) -> None:
        self._dir = out_dir
        self._rows: dict[str, list[Any]] = {table: [] for table in COLUMNS}
        self._segments: dict[str, list[tuple[str, int]]] = {table: [] for table in COLUMNS}

    def execute(self, command: str, name: str, value: Any) -> None:
        """Execute the command of one frame."""
        if command == ROWS:
            self._rows[name].extend(value)
        elif command == FLUSH:
            self.flush()
        elif command == JSON:
            write_json(self._dir / name, value)
        else:
            self.flush()
            write_json(self._dir / SUMMARY_FILE, {**value, "segments": self._segments, "finished": True})

    def flush(self) -> None:
        for table, rows in self._rows.items():
            if rows:
                name = f"{table}-{len(self._segments[table]):05d}.parquet"
                write_segment(self._dir / name, table, rows)
                self._segments[table].append((name, len(rows)))
                self._rows[table] = []


def serve(out_dir: Path, source: BinaryIO) -> None:
    """Write until the source ends. Without a finish frame the rows are written, but no summary."""
    writer = SegmentWriter(out_dir)
    flushed_s = time.monotonic()
    pending = bytearray()
    while True:
        readable, _, _ = select.select([source], [], [], FLUSH_S)
        data = os.read(source.fileno(), 1 << 20) if readable else None
        if data == b"":
            break
        pending += data or b""
        for frame in _frames(pending):
            writer.execute(*frame)
        if time.monotonic() - flushed_s >= FLUSH_S:
            writer.flush()
            flushed_s = time.monotonic()
    writer.flush()


def _frames(pending: bytearray) -> list[tuple[str, str, Any]]:
    """Remove all whole frames from the front."""
    frames = []
    start = 0
    while len(pending) - start >= FRAME_HEADER.size:
        (size,) = FRAME_HEADER.unpack_from(pending, start)
        end = start + FRAME_HEADER.size + size
        if len(pending) < end:
            break
        frames.append(marshal.loads(memoryview(pending)[start + FRAME_HEADER.size : end]))
        start = end
    del pending[:start]
    return frames


def main() -> None:
    """Ignore signals, which are meant for the generator: this process ends when its input does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    try:
        serve(Path(sys.argv[1]), sys.stdin.buffer)
    except EvidenceMissing as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
