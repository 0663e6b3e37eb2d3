"""The generator's end of the history: rows are handed to the process of `kit.load.segments` and never waited for.

Owns the hand-over and its bound; must not know Parquet.
"""

from __future__ import annotations

import asyncio
import marshal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing
from kit.load.files import COLUMNS, PROGRESS_FILE

ROWS_AT_ONCE = 64  # rows a frame: some 50 µs of work on the loop
BEHIND_BYTES_MAX = 64 << 20  # what may wait for a slow disk
FINISH_S_MAX = 10.0
_HEADER = struct.Struct("<I")

Row = tuple[Any, ...]


class Scribe:
    """Takes rows of all tables. `as_row` turns what is added to a table into a row, when that is not what is added."""

    def __init__(self, out_dir: Path, as_row: dict[str, Callable[[Any], Row]] | None = None) -> None:
        self._dir = out_dir
        self._as_row = as_row or {}
        self._rows: dict[str, list[Any]] = {table: [] for table in COLUMNS}
        self._process: asyncio.subprocess.Process
        self._pipe: asyncio.StreamWriter

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kit.load.segments", str(self._dir), stdin=asyncio.subprocess.PIPE
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin

    def add(self, table: str, row: Any) -> None:
        rows = self._rows[table]
        rows.append(row)
        if len(rows) >= ROWS_AT_ONCE:
            self._hand_over(table)

    def flush(self) -> None:
        """Have everything written now."""
        for table in COLUMNS:
            self._hand_over(table)
        self._send("flush", "", None)

    def put_progress(self, progress: dict[str, Any]) -> None:
        """Hand over what is left of a frame, and the counters. Raises `EvidenceMissing` if no one takes it."""
        for table in COLUMNS:
            self._hand_over(table)
        self._send("json", PROGRESS_FILE, progress)
        if self._process.returncode is not None:
            raise EvidenceMissing(f"history in {self._dir}: its writer died with exit code {self._process.returncode}")
        if (behind := self._pipe.transport.get_write_buffer_size()) > BEHIND_BYTES_MAX:
            raise EvidenceMissing(f"history in {self._dir}: {behind} bytes behind > {BEHIND_BYTES_MAX}")

    async def finish(self, summary: dict[str, Any]) -> None:
        """Write all that is left and then, last of all, the summary that makes the history whole."""
        for table in COLUMNS:
            self._hand_over(table)
        self._send("finish", "", summary)
        await self.close()

    async def close(self) -> None:
        """Let the writer come to its end."""
        self._pipe.close()
        try:
            code = await asyncio.wait_for(self._process.wait(), FINISH_S_MAX)
        except TimeoutError as error:
            self._process.kill()
            raise EvidenceMissing(f"history in {self._dir}: not written within {FINISH_S_MAX:g} s") from error
        if code:
            raise EvidenceMissing(f"history in {self._dir}: its writer died with exit code {code}")

    def _hand_over(self, table: str) -> None:
        if rows := self._rows[table]:
            self._rows[table] = []
            as_row = self._as_row.get(table)
            self._send("rows", table, [as_row(row) for row in rows] if as_row else rows)

    def _send(self, word: str, name: str, value: Any) -> None:
        frame = marshal.dumps([word, name, value])
        self._pipe.write(_HEADER.pack(len(frame)) + frame)
