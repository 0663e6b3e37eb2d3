"""Subscribe to the markets' event streams, and resume each stream after its connection was lost.

A plan can let one subscriber of each market disconnect regularly, so that resuming is tested even if no fault breaks a
stream. Every message is recorded unchanged, also if it is a duplicate or out of order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from kit.load.orders import STREAM, Draws
from kit.load.plan import LoadPlan
from kit.model import PLANNED_RECONNECT

OPEN_S_MAX = 3.0
PING_S = 2.0  # a stream that answers no ping within this time is lost, even if its connection looks open
CLOSE_S_MAX = 1.0
BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 1.0
MESSAGE_BYTES_MAX = 64 * 1024
QUIET_S = 2.0  # if no stream has an event for this long, all subscribers have caught up
CATCH_UP_S_MAX = 15.0
CATCH_UP_POLL_S = 0.05
ABNORMAL_CLOSURE = 1006  # RFC 6455: the code of a connection that ended without a close frame

Add = Callable[[str, tuple[Any, ...]], None]


class Subscriber:
    """One subscriber of one market.

    `add` appends a row to the table of that name in the history; times are in epoch ns. The subscriber disconnects and
    resumes every `reconnect_s` seconds; None means that it never disconnects on purpose.
    """

    def __init__(
        self, plan: LoadPlan, symbol: str, number: int, *, add: Add, epoch_ns: int, reconnect_s: float | None = None
    ) -> None:
        self.name = f"s-{symbol}-{number}"
        self._plan = plan
        self._symbol = symbol
        self._add = add
        self._reconnect_s = reconnect_s
        self._draws = Draws(plan.seed, plan.markets.index(symbol) * 128 + number, STREAM)
        self._epoch_ns = epoch_ns
        self._connection = 0
        self._failures = 0  # connections in a row on which no event arrived
        self.seq = 0
        self.open = False
        self.last_event_s = time.monotonic()

    def _now_ns(self) -> int:
        return time.monotonic_ns() + self._epoch_ns

    async def listen(self) -> None:
        """Receive events until cancelled. Reconnect after every loss, with a seeded and bounded delay."""
        while True:
            await self._connect_once()
            self._connection += 1
            await asyncio.sleep(self._backoff_s())

    def _backoff_s(self) -> float:
        ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(self._failures, 10))
        self._failures += 1
        return self._draws.unit() * ceiling

    async def _connect_once(self) -> None:
        url = f"{self._plan.stream_url}/markets/{self._symbol}/stream?after={self.seq}"
        after, dialed_ns, opened_ns, closed_ns, code, error = self.seq, self._now_ns(), 0, 0, 0, ""
        try:
            async with connect(
                url,
                compression=None,
                proxy=None,
                open_timeout=OPEN_S_MAX,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                close_timeout=CLOSE_S_MAX,
                max_size=MESSAGE_BYTES_MAX,
            ) as stream:
                opened_ns = self._now_ns()
                self.open = True
                await self._receive(stream)
                code, closed_ns = PLANNED_RECONNECT, self._now_ns()
                await stream.close(PLANNED_RECONNECT)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else ABNORMAL_CLOSURE
            error = str(closed)
            closed_ns = self._now_ns()
        except (OSError, InvalidHandshake, InvalidURI, EOFError) as failure:  # TimeoutError is an OSError
            error = f"{type(failure).__name__}: {failure}"
            closed_ns = self._now_ns()
        finally:
            self.open = False
            row = (self.name, self._connection, self._symbol, after, dialed_ns, opened_ns, closed_ns, code, error)
            self._add("connections", row)

    async def _receive(self, stream: ClientConnection) -> None:
        """Receive until the planned reconnect. Raises ConnectionClosed if the connection is lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._reconnect_s):
                while True:
                    self._record(await stream.recv())

    def _record(self, message: str | bytes) -> None:
        received_ns = self._now_ns()
        text = message if isinstance(message, str) else message.decode("utf-8", "replace")
        seq = _seq_of(text)
        self._add("stream", (self.name, self._connection, self._symbol, seq, received_ns, text))
        self.seq = max(self.seq, seq)
        self._failures = 0
        self.last_event_s = time.monotonic()


def _seq_of(text: str) -> int:
    """Return the event's sequence number; 0, which no event has, if the message has no valid number."""
    try:
        event = json.loads(text)
    except ValueError:
        return 0
    seq = event.get("seq") if isinstance(event, dict) else None
    return seq if isinstance(seq, int) and not isinstance(seq, bool) and 0 <= seq < 2**63 else 0


def _reconnect_s(plan: LoadPlan, number: int) -> float | None:
    return plan.reconnect_every_s or None if number == plan.subscribers_per_market - 1 else None


class Subscribers:
    """All subscribers of a plan. Call `start`, and at the end `catch_up` and `close`."""

    def __init__(self, plan: LoadPlan, *, add: Add, epoch_ns: int) -> None:
        self._all = [
            Subscriber(plan, symbol, number, add=add, epoch_ns=epoch_ns, reconnect_s=_reconnect_s(plan, number))
            for symbol in plan.markets
            for number in range(plan.subscribers_per_market)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(subscriber.listen(), name=subscriber.name) for subscriber in self._all]

    async def catch_up(self, give_up: Callable[[], bool]) -> bool:
        """Wait until all are connected and no event has arrived for `QUIET_S`.

        Returns False after `CATCH_UP_S_MAX`, or as soon as `give_up()` is true.
        """
        started_s = time.monotonic()
        while time.monotonic() - started_s < CATCH_UP_S_MAX and not give_up():
            since_s = max([started_s, *(subscriber.last_event_s for subscriber in self._all)])
            if all(subscriber.open for subscriber in self._all) and time.monotonic() - since_s >= QUIET_S:
                return True
            if not self._all:
                return True
            await asyncio.sleep(CATCH_UP_POLL_S)
        return False

    async def close(self) -> None:
        """Disconnect all subscribers. Streams that are open now keep `closed_ns` 0, because they were not lost."""
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error
