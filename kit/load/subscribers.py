"""Subscribe to the markets' event streams, and resume each stream after its connection was lost.

Some disconnect on purpose, stay away, or stop reading for a while (`subscriber_habits`), so that resuming is tested
even if no fault breaks a stream. Every message is recorded unchanged, also if it is a duplicate or out of order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from kit.load.orders import STREAM, Draws
from kit.load.plan import LoadPlan
from kit.load.shards import Shard
from kit.load.stream_limits import ABNORMAL_CLOSURE, CLOSE_S_MAX, MESSAGE_BYTES_MAX, OPEN_S_MAX
from kit.load.subscriber_habits import READ_S, Role, replay, roles_of
from kit.load.visitors import Visitors
from kit.model import PLANNED_RECONNECT

PING_S = 2.0  # a stream that answers no ping within this time is lost, even if its connection looks open
BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 1.0
QUIET_S = 2.0  # if no stream has an event for this long, all subscribers have caught up
CATCH_UP_S_MAX = 15.0
CATCH_UP_POLL_S = 0.05
# A subscriber that stops reading has small buffers, so that its server notices within the messages of seconds.
SLOW_RECEIVE_BYTES = 4_096
SLOW_QUEUE_MAX = 4  # messages
HOLD_S = 0.02  # how often one that reads a share of the messages looks whether it may go on
REPLAYS_MAX = 200

Add = Callable[[str, tuple[Any, ...]], None]


class Subscriber:
    """One subscriber of one market.

    `add` appends a row to the table of that name in the history; times are in epoch ns. `ending` is set when the load
    is over: from then on the subscriber neither pauses nor stays away. `newest()` is the greatest seq that any
    subscriber of the market has received. `done` is true once it has left for good.
    """

    def __init__(
        self,
        plan: LoadPlan,
        role: Role,
        *,
        add: Add,
        epoch_ns: int,
        ending: asyncio.Event,
        newest: Callable[[], int],
    ) -> None:
        self.name = role.name
        self._plan = plan
        self._symbol = role.symbol
        self._habits = role.habits
        self._add = add
        self._ending = ending
        self._newest = newest
        self._slow_since: int | None = None  # with a share: the seq from which on it reads only that share
        self._draws = Draws(plan.seed, role.number, STREAM)
        self._epoch_ns = epoch_ns
        self._connection = 0
        self._failures = 0  # connections in a row on which no event arrived
        self.seq = role.after
        self.open = False
        self.done = False
        self.last_event_s = time.monotonic()

    @property
    def symbol(self) -> str:
        return self._symbol

    def _now_ns(self) -> int:
        return time.monotonic_ns() + self._epoch_ns

    async def listen(self) -> None:
        """Receive events until cancelled, or until it leaves for good. Reconnect after every loss, after a delay."""
        while not self.done:
            left = await self._connect_once()
            self._connection += 1
            self.done = self._is_complete
            if left and self._habits.absent_s:
                await self._wait(self._habits.absent_s)
            elif not self.done:
                await asyncio.sleep(self._backoff_s())

    @property
    def _is_complete(self) -> bool:
        return 0 < self._habits.until_seq <= self.seq

    async def _wait(self, wait_s: float) -> None:
        """Wait so long, or until the load is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), wait_s)

    def _backoff_s(self) -> float:
        """Return a seeded and bounded delay."""
        ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(self._failures, 10))
        self._failures += 1
        return self._draws.unit() * ceiling

    async def _connect_once(self) -> bool:
        """Receive on one connection until it ends; return whether the subscriber left on purpose."""
        url = f"{self._plan.stream_url}/markets/{self._symbol}/stream?after={self.seq}"
        after, dialed_ns, opened_ns, closed_ns, code, error = self.seq, self._now_ns(), 0, 0, 0, ""
        try:
            async with connect(
                url,
                compression=None,
                proxy=None,
                open_timeout=OPEN_S_MAX,
                close_timeout=CLOSE_S_MAX,
                max_size=MESSAGE_BYTES_MAX,
                **await self._transport(),
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
        return code == PLANNED_RECONNECT

    async def _transport(self) -> dict[str, Any]:
        """Return how to connect. A subscriber that stops reading sends no pings, because it would not see the pongs."""
        if not self._habits.is_slow:
            return {"ping_interval": PING_S, "ping_timeout": PING_S}
        return {"ping_interval": None, "max_queue": SLOW_QUEUE_MAX, "sock": await self._small_socket()}

    async def _small_socket(self) -> socket.socket:
        """Connect a socket with a small receive buffer, which must be set before."""
        loop, plan = asyncio.get_running_loop(), self._plan
        async with asyncio.timeout(OPEN_S_MAX):
            family, *_, address = (await loop.getaddrinfo(plan.host, plan.port, type=socket.SOCK_STREAM))[0]
            small = socket.socket(family, socket.SOCK_STREAM)
            try:
                small.setblocking(False)
                small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_RECEIVE_BYTES)
                await loop.sock_connect(small, address)
            except BaseException:
                small.close()
                raise
        return small

    async def _receive(self, stream: ClientConnection) -> None:
        """Receive until the subscriber leaves on purpose. Raises ConnectionClosed if the connection is lost."""
        self._slow_since = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._habits.reconnect_s):
                while not self._is_complete:
                    await self._read(stream)
                    if self._habits.pause_s:
                        await self._wait(self._habits.pause_s)
                    while self._is_ahead_of_share() and not self._ending.is_set():
                        await self._wait(HOLD_S)

    def _is_ahead_of_share(self) -> bool:
        """Return whether it has read its share of what the others received since it had all that they had."""
        share = self._habits.share
        if not share:
            return False
        newest = self._newest()
        if self._slow_since is None and self.seq >= newest:
            self._slow_since = self.seq
        since = self._slow_since
        return since is not None and self.seq > since + share * (newest - since)

    async def _read(self, stream: ClientConnection) -> None:
        """Record one message, or those of `READ_S` if the subscriber pauses afterwards."""
        until_s = time.monotonic() + READ_S
        self._record(await stream.recv())
        while self._habits.pause_s and time.monotonic() < until_s:
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


class Subscribers:
    """All subscribers of a plan, or of one shard of it. Call `start`, and at the end `catch_up` and `close`."""

    def __init__(self, plan: LoadPlan, *, add: Add, epoch_ns: int, shard: Shard | None = None) -> None:
        self._plan = plan
        self._shard = shard or Shard()
        self._add = add
        self._epoch_ns = epoch_ns
        self._ending = asyncio.Event()
        self._all: list[Subscriber] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for role in roles_of(self._plan, self._shard):
            self._subscribe(role)
        if self._plan.replay_every_s and self._shard.has_market(self._plan, self._plan.markets[-1]):
            self._tasks.append(asyncio.create_task(self._replay(), name="replays"))
        visitors = Visitors(self._plan, add=self._add, epoch_ns=self._epoch_ns, newest=self._newest, shard=self._shard)
        self._tasks.append(asyncio.create_task(visitors.run(self._ending), name="visitors"))

    def _subscribe(self, role: Role) -> None:
        subscriber = Subscriber(
            self._plan,
            role,
            add=self._add,
            epoch_ns=self._epoch_ns,
            ending=self._ending,
            newest=lambda: self._newest(role.symbol),
        )
        self._all.append(subscriber)
        self._tasks.append(asyncio.create_task(subscriber.listen(), name=subscriber.name))

    async def _replay(self) -> None:
        """Let a new subscriber read the whole ledger every `replay_every_s`, until the load is over."""
        symbol = self._plan.markets[-1]
        for number in range(REPLAYS_MAX):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self._plan.replay_every_s)
            if self._ending.is_set():
                return
            if known := self._newest(symbol):
                self._subscribe(replay(self._plan, number, known))

    def _newest(self, symbol: str) -> int:
        """Return the greatest seq that any subscriber of the market has received; 0 before the first."""
        return max((one.seq for one in self._all if one.symbol == symbol), default=0)

    async def catch_up(self, give_up: Callable[[], bool]) -> bool:
        """Wait until all are connected and no event has arrived for `QUIET_S`.

        Those that pause or stay away go on at once. Returns False after `CATCH_UP_S_MAX`, or as soon as `give_up()` is
        true.
        """
        self._ending.set()
        started_s = time.monotonic()
        while time.monotonic() - started_s < CATCH_UP_S_MAX and not give_up():
            since_s = max([started_s, *(subscriber.last_event_s for subscriber in self._all)])
            connected = all(subscriber.open or subscriber.done for subscriber in self._all)
            if connected and time.monotonic() - since_s >= QUIET_S:
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
