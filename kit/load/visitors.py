"""Connect to the markets' event streams, take the first event and leave, again and again.

A server that forgets to make room when a subscriber leaves is full after as many visits as it has places. Visitors
record their connections and no events: what they receive, the subscribers of `kit.load.subscribers` receive too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from kit.load.plan import LoadPlan
from kit.load.shards import Shard
from kit.load.stream_limits import ABNORMAL_CLOSURE, CLOSE_S_MAX, MESSAGE_BYTES_MAX, OPEN_S_MAX
from kit.model import PLANNED_RECONNECT, VISITOR

FIRST_EVENT_S_MAX = 2.0  # then a visitor leaves without an event
AT_ONCE_MAX = 16  # more are not sent: those that are connected are waiting

Add = Callable[[str, tuple[Any, ...]], None]


class Visitors:
    """The visitors of a plan, or of one shard of it, `plan.visits_per_s` in all markets together.

    `add` appends a row to the table of that name in the history; times are in epoch ns. `newest(symbol)` is the
    greatest seq that a subscriber of the market has received: a visitor asks for that event, so that it need not wait.
    Every other one leaves without a closing handshake.
    """

    def __init__(
        self, plan: LoadPlan, *, add: Add, epoch_ns: int, newest: Callable[[str], int], shard: Shard | None = None
    ) -> None:
        shard = shard or Shard()
        self._plan = plan
        self._add = add
        self._epoch_ns = epoch_ns
        self._newest = newest
        self._symbols = [symbol for symbol in plan.markets if shard.has_market(plan, symbol)]
        self._visits: set[asyncio.Task[None]] = set()
        self._number = 0

    async def run(self, ending: asyncio.Event) -> None:
        """Send visitors until the load is over, and wait for the last ones."""
        rate_per_s = self._plan.visits_per_s * len(self._symbols) / len(self._plan.markets)
        started_s = time.monotonic()
        while rate_per_s and not ending.is_set():
            if len(self._visits) < AT_ONCE_MAX:
                self._send(self._symbols[self._number % len(self._symbols)])
            self._number += 1
            with contextlib.suppress(TimeoutError):
                due_s = started_s + self._number / rate_per_s
                await asyncio.wait_for(ending.wait(), max(due_s - time.monotonic(), 0.0))
        await asyncio.gather(*self._visits)

    def _send(self, symbol: str) -> None:
        visit = asyncio.create_task(self._visit(symbol, self._number), name=f"visit-{self._number}")
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)

    async def _visit(self, symbol: str, number: int) -> None:
        """Connect, receive one event, leave, and record the connection."""
        after = max(self._newest(symbol) - 1, 0)
        dialed_ns, opened_ns, code, error = self._now_ns(), 0, PLANNED_RECONNECT, ""
        try:
            async with connect(
                f"{self._plan.stream_url}/markets/{symbol}/stream?after={after}",
                compression=None,
                proxy=None,
                open_timeout=OPEN_S_MAX,
                close_timeout=CLOSE_S_MAX,
                max_size=MESSAGE_BYTES_MAX,
                ping_interval=None,
            ) as stream:
                opened_ns = self._now_ns()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stream.recv(), FIRST_EVENT_S_MAX)
                await _leave(stream, number)
        except ConnectionClosed as closed:
            code, error = closed.rcvd.code if closed.rcvd else ABNORMAL_CLOSURE, str(closed)
        except (OSError, InvalidHandshake, InvalidURI, EOFError) as failure:  # TimeoutError is an OSError
            code, error = 0, f"{type(failure).__name__}: {failure}"
        finally:
            row = (f"s-{symbol}{VISITOR}", number, symbol, after, dialed_ns, opened_ns, self._now_ns(), code, error)
            self._add("connections", row)

    def _now_ns(self) -> int:
        return time.monotonic_ns() + self._epoch_ns


async def _leave(stream: ClientConnection, number: int) -> None:
    """Close the connection; odd visitors just hang up."""
    if number % 2:
        stream.transport.abort()
    await stream.close(PLANNED_RECONNECT)
