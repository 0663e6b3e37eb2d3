"""Carry what a function prints to its log stream, and know when an invocation's output is complete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from kit.local.log_streams import LINE_BYTES_MAX

READ_BYTES = 65_536
# How long an invocation waits for its output after its answer. The output was written before the answer.
COMPLETE_S_MAX = 1.0
# AWS's LogType=Tail answers the last 4 KB.
TAIL_BYTES = 4_096

Put = Callable[[list[dict[str, Any]]], None]


class Output:
    """Read the output of one environment. `marker` ends the output of an invocation."""

    def __init__(self, source: asyncio.StreamReader, marker: bytes, put: Put) -> None:
        self._source = source
        self._marker = marker
        self._put = put
        self._partial = b""
        self._tail = b""
        self._complete = asyncio.Event()
        self._reading = asyncio.create_task(self._read(), name="function-output")

    def begin(self, line: str) -> None:
        """Begin an invocation's output with a line of the platform."""
        self._tail = b""
        self._complete.clear()
        self.write(line)

    def write(self, *lines: str) -> None:
        """Write lines of the platform."""
        self._ship([line.encode() for line in lines])

    def tail(self) -> str:
        """Return the end of the invocation's output."""
        return self._tail[-TAIL_BYTES:].decode(errors="replace")

    async def complete(self) -> None:
        """Wait until all output before the marker has been shipped, for at most COMPLETE_S_MAX."""
        try:
            async with asyncio.timeout(COMPLETE_S_MAX):
                await self._complete.wait()
        except TimeoutError:
            # The function has closed its standard error output, or a child of it holds an unfinished line.
            self._flush()

    async def close(self) -> None:
        """Ship what is left."""
        await asyncio.wait((self._reading,), timeout=COMPLETE_S_MAX)
        self._reading.cancel()
        self._flush()

    async def _read(self) -> None:
        while chunk := await self._source.read(READ_BYTES):
            self._partial += chunk
            while (at := self._partial.find(self._marker)) >= 0:
                rest = self._partial[at + len(self._marker) :]
                self._partial = self._partial[:at]
                self._flush()
                self._partial = rest
                self._complete.set()
            *lines, self._partial = self._partial.split(b"\n")
            self._ship(lines)
            if len(self._partial) > LINE_BYTES_MAX:
                self._flush()
        self._flush()
        self._complete.set()

    def _flush(self) -> None:
        lines, self._partial = self._partial.split(b"\n"), b""
        self._ship(lines)

    def _ship(self, lines: list[bytes]) -> None:
        pieces = [line[at : at + LINE_BYTES_MAX] for line in lines for at in range(0, len(line), LINE_BYTES_MAX)]
        if not pieces:
            return
        self._tail = (self._tail + b"\n".join(pieces) + b"\n")[-TAIL_BYTES:]
        now_ms = int(time.time() * 1000)
        self._put([{"timestamp": now_ms, "message": piece.decode("utf-8", errors="replace")} for piece in pieces])
