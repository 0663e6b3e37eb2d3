"""The bounds on what one client, or all together, can make a process hold; and the sweep that enforces the times.

Times are checked every SWEEP_S, so that a connection needs no timers of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Protocol, cast

# An honest request needs a few hundred bytes. The load balancer adds about 200 to what its client sends.
HEADERS_MAX = 100
LINE_BYTES_MAX = 8000
HEAD_BYTES_MAX = 16 * 1024
# Bytes of a body as sent, so with the overhead of chunks. Its content is bounded by `request_content.BODY_MAX_BYTES`.
RAW_BODY_BYTES_MAX = 64 * 1024
PIPELINED_MAX = 16
# A client has this long for a head, and then for a body, from their first byte on.
HEAD_S = 10.0
BODY_S = 10.0
SHUTDOWN_BODY_S = 1.0  # For a body that is still incomplete when the process stops.
# Longer than the load balancer's idle timeout (60 s): if this side closed first, the load balancer could send a
# request on a closed connection.
KEEP_ALIVE_S = 75
# A client that takes nothing of an answer for this long is cut off.
SEND_STALL_S = 10.0
# What this process and its kernel each hold of a stream that its subscriber does not take, about two seconds of a busy
# market. On one host the kernel alone would take megabytes, and the sender would notice a slow subscriber minutes late.
STREAM_BUFFER_BYTES = 16 * 1024
# The stream first tells a slow subscriber so, which takes it up to 20 s (`stream.SEND_STALL_S` and `CLOSE_S`).
STREAM_STALL_S = 25.0
# After the last byte was written, a client has this long to take it and to close.
CLOSE_S = 10.0
# A refused client may still be sending. So much is dropped, for so long, because closing at once would make the kernel
# discard the answer.
LINGER_S = 2.0
LINGER_BYTES_MAX = 1024 * 1024
# All connections, below the usual limit of 1,024 descriptors of a process. A new one beyond takes the place of the one
# that has waited longest for its client.
CONNECTIONS_MAX = 800
# A subscriber sends pings and pongs, one in 20 s.
FRAMES_PER_S_MAX = 50
MESSAGE_BYTES_MAX = 4096
SWEEP_S = 0.5


class Swept(Protocol):
    """A connection whose times are checked."""

    def check(self, now_s: float, /) -> None:
        """End the connection if one of its times is over; `now_s` is the event loop's time."""


async def sweep(connections: Collection[Any]) -> None:
    """Check all connections every SWEEP_S until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_S)
        now_s = loop.time()
        for connection in cast(list[Swept], list(connections)):
            connection.check(now_s)
