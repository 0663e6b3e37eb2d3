"""Ship container output to CloudWatch Logs, as the awslogs driver does."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.local.log_streams import LINE_BYTES_MAX, LogStream

# The awslogs options that are carried out here. Output is never blocked, so `mode` and its buffer change nothing.
OPTIONS = frozenset({
    "awslogs-group", "awslogs-region", "awslogs-stream-prefix", "awslogs-create-group", "mode", "max-buffer-size",
})  # fmt: skip
READ_BYTES = 65_536
FLUSH_S = 0.25
# Lines that wait for the next flush. Beyond it the oldest are dropped, and a log line gives their number.
BUFFER_LINES_MAX = 10_000
# How long a container's stop may wait for its last lines.
DRAIN_S_MAX = 1.0


def destination_of(container: Mapping[str, Any], *, task_id: str, account: str, region: str) -> LogStream | None:
    """Return the destination in the container definition's logConfiguration, or None if it is not awslogs."""
    config = container.get("logConfiguration") or {}
    options = config.get("options") or {}
    if config.get("logDriver") != "awslogs" or not options.get("awslogs-group"):
        return None
    prefix = options.get("awslogs-stream-prefix")
    name = container["name"]
    return LogStream(
        account=account,
        region=options.get("awslogs-region") or region,
        group=options["awslogs-group"],
        stream=f"{prefix}/{name}/{task_id}" if prefix else f"{task_id}-{name}",
        create_group=str(options.get("awslogs-create-group", "")).lower() == "true",
    )


@dataclass(slots=True, kw_only=True)
class Shipper:
    """Read one output stream to its end and ship its lines in batches."""

    source: asyncio.StreamReader
    destination: LogStream | None
    _waiting: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=BUFFER_LINES_MAX))
    _dropped: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Begin to read. Output without a destination is read too, because the writer would block otherwise."""
        self._tasks.append(asyncio.create_task(self._read(), name="ecs-logs-read"))
        if self.destination is not None:
            self._tasks.append(asyncio.create_task(self._flush_often(), name="ecs-logs-flush"))

    async def finish(self) -> None:
        """Read the rest for at most DRAIN_S_MAX, ship it and stop."""
        if self._tasks:
            await asyncio.wait(self._tasks[:1], timeout=DRAIN_S_MAX)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._flush()

    async def _read(self) -> None:
        partial = b""
        while chunk := await self.source.read(READ_BYTES):
            *lines, partial = (partial + chunk).split(b"\n")
            for line in lines:
                self._add(line)
            if len(partial) > LINE_BYTES_MAX:
                self._add(partial)
                partial = b""
        if partial:
            self._add(partial)

    def _add(self, line: bytes) -> None:
        if self.destination is None or not line.strip():
            return
        if len(self._waiting) == BUFFER_LINES_MAX:
            self._dropped += 1
        text = line[:LINE_BYTES_MAX].decode("utf-8", errors="replace").rstrip("\r")
        self._waiting.append({"timestamp": int(time.time() * 1000), "message": text})

    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._flush()

    def _flush(self) -> None:
        if self.destination is None or not self._waiting:
            return
        events = list(self._waiting)
        self._waiting.clear()
        if self._dropped:
            text = f"[{self._dropped} lines dropped: more than {BUFFER_LINES_MAX} waited for the log driver]"
            events.insert(0, {"timestamp": events[0]["timestamp"], "message": text})
            self._dropped = 0
        self.destination.put(events)
