"""Hand the rows of the history to the writer process (`kit.load.writer_process`), without waiting for it."""

from __future__ import annotations

import asyncio
import marshal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing
from kit.load.files import COLUMNS, FINISH, FLUSH, FRAME_HEADER, JSON, PROGRESS_FILE, ROWS

ROWS_PER_FRAME = 64  # about 50 µs of work on the event loop
BUFFERED_BYTES_MAX = 64 << 20  # waiting for a slow disk
FINISH_S_MAX = 10.0

Row = tuple[Any, ...]


class HistoryWriter:
    """Collect the rows of all tables. `as_row` has, for tables whose items are not rows, the function that converts."""

    def __init__(self, out_dir: Path, as_row: dict[str, Callable[[Any], Row]] | None = None) -> None:
        self._dir = out_dir
        self._as_row = as_row or {}
        self._rows: dict[str, list[Any]] = {table: [] for table in COLUMNS}
        self._process: asyncio.subprocess.Process
        self._pipe: asyncio.StreamWriter

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kit.load.writer_process", str(self._dir), stdin=asyncio.subprocess.PIPE
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin

    def add(self, table: str, row: Any) -> None:
        rows = self._rows[table]
        rows.append(row)
        if len(rows) >= ROWS_PER_FRAME:
            self._send_rows(table)

    def flush(self) -> None:
        """Let the writer process write all rows now."""
        self._send_all_rows()
        self._send(FLUSH, "", None)

    def write_progress(self, progress: dict[str, Any]) -> None:
        """Send the pending rows and the counters. Raises EvidenceMissing if the process died or is too far behind."""
        self._send_all_rows()
        self._send(JSON, PROGRESS_FILE, progress)
        if self._process.returncode is not None:
            raise EvidenceMissing(f"history in {self._dir}: its writer died with exit code {self._process.returncode}")
        if (behind := self._pipe.transport.get_write_buffer_size()) > BUFFERED_BYTES_MAX:
            raise EvidenceMissing(f"history in {self._dir}: {behind} bytes are not written > {BUFFERED_BYTES_MAX}")

    async def finish(self, summary: dict[str, Any]) -> None:
        """Write the remaining rows, then the summary that completes the history."""
        self._send_all_rows()
        self._send(FINISH, "", summary)
        await self.close()

    async def close(self) -> None:
        """Wait until the process has written everything and has ended."""
        self._pipe.close()
        try:
            code = await asyncio.wait_for(self._process.wait(), FINISH_S_MAX)
        except TimeoutError as error:
            self._process.kill()
            raise EvidenceMissing(f"history in {self._dir}: not written within {FINISH_S_MAX:g} s") from error
        if code:
            raise EvidenceMissing(f"history in {self._dir}: its writer died with exit code {code}")

    def _send_all_rows(self) -> None:
        for table in COLUMNS:
            self._send_rows(table)

    def _send_rows(self, table: str) -> None:
        if rows := self._rows[table]:
            self._rows[table] = []
            as_row = self._as_row.get(table)
            self._send(ROWS, table, [as_row(row) for row in rows] if as_row else rows)

    def _send(self, command: str, name: str, value: Any) -> None:
        frame = marshal.dumps([command, name, value])
        self._pipe.write(FRAME_HEADER.pack(len(frame)) + frame)
