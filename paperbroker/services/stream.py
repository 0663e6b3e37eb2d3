"""Send every ledger event of a market to every subscriber: once, in order, and from any sequence number on.

Each process has one `Feed` for each market: a poller of the ledger, which runs only while there are subscribers, and a
ring buffer of the latest events. A subscriber is a cursor into the ring. One that joins far behind reads the ledger
page by page until it reaches the ring. One that had reached the ring and then falls behind it is closed as too slow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any, Protocol, TypeVar

from paperbroker.domain.events import LedgerEvent
from paperbroker.errors import StoreUnavailable
from paperbroker.logs import Log

RING_MAX = 1024
PAGE_MAX = 256
POLL_S = 0.25
POLL_QUIET_S = 0.5
STALE_AFTER_S = 6.0  # A feed that cannot read for this long closes its subscribers, so that they go to another task.
SEND_STALL_S = 10.0
CLOSE_S = 10.0
SUBSCRIBERS_MAX = 200
BACKFILL_PAUSE_S = 0.1

TOO_SLOW = 4008
UNKNOWN_MARKET = 4004
DRAINING = 1012
TRY_ELSEWHERE = 1013

R = TypeVar("R")


class Ledger(Protocol):
    def read_after(self, market: str, seq: int, limit: int = 0) -> list[LedgerEvent]: ...

    def seq_of(self, market: str) -> int: ...


class Subscriber(Protocol):
    async def send(self, text: str) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...


class RunInThread(Protocol):
    """Run a blocking call outside the event loop."""

    def __call__(self, call: Callable[..., R], /, *args: Any) -> Awaitable[R]: ...


class Feed:
    """The tail of one market's ledger as JSON texts, kept up to date by a poller while there are subscribers."""

    def __init__(self, market: str, ledger: Ledger, run: RunInThread, log: Log, ring_max: int = RING_MAX) -> None:
        self.market = market
        self._ledger = ledger
        self._run = run
        self._log = log
        self._ring: deque[str] = deque(maxlen=ring_max)
        self._tail: int | None = None  # Sequence of the ring's last text; None until the first read.
        self._news = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        self._listeners = 0
        self.stale = False

    def join(self) -> None:
        self._listeners += 1
        if self._poller is None:
            self._tail, self.stale = None, False
            self._ring.clear()
            self._poller = asyncio.create_task(self._poll(), name=f"feed-{self.market}")

    def leave(self) -> None:
        self._listeners -= 1
        if self._listeners == 0 and self._poller is not None:
            self._poller.cancel()
            self._poller = None

    def since(self, seq: int) -> list[str] | None:
        """Return up to PAGE_MAX texts after `seq`, oldest first; None if the ring does not reach back that far."""
        if self._tail is None:
            return None
        if seq >= self._tail:
            return []
        start = len(self._ring) - (self._tail - seq)
        return None if start < 0 else list(islice(self._ring, start, start + PAGE_MAX))

    async def news(self) -> None:
        """Wait for new events, or until the feed is stale."""
        await self._news.wait()

    async def page(self, seq: int) -> list[str]:
        """Read up to PAGE_MAX texts after `seq` from the ledger."""
        return [event.to_json() for event in await self._run(self._ledger.read_after, self.market, seq, PAGE_MAX)]

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        read_at, pause_s = loop.time(), POLL_S
        while True:
            try:
                found = await self._read()
                read_at, self.stale = loop.time(), False
                pause_s = POLL_S if found else min(POLL_QUIET_S, pause_s * 1.5)
            except StoreUnavailable as exc:
                self._log.warning("feed.unavailable", market=self.market, error=str(exc))
                if loop.time() - read_at > STALE_AFTER_S:
                    self.stale = True
                    self._wake()
            await asyncio.sleep(pause_s)

    async def _read(self) -> int:
        """Add new events to the ring and return their number. The first read only finds the end of the ledger.

        The ledger's sequence has no gaps, so the number of events moves the tail.
        """
        if self._tail is None:
            self._tail = await self._run(self._ledger.seq_of, self.market)
            self._wake()
            return 0
        texts = await self.page(self._tail)
        if texts:
            self._ring.extend(texts)
            self._tail += len(texts)
            self._wake()
        return len(texts)

    def _wake(self) -> None:
        # A new event object for the next wait: those who wait now hold the old one.
        self._news.set()
        self._news = asyncio.Event()


class Hub:
    """All feeds of this process. `serve` serves one subscriber until its stream ends."""

    def __init__(self, ledger: Ledger, run: RunInThread, log: Log, ring_max: int = RING_MAX) -> None:
        self._feeds: dict[str, Feed] = {}
        self._make = lambda market: Feed(market, ledger, run, log, ring_max)
        self._log = log
        self.subscribers = 0

    async def serve(self, subscriber: Subscriber, market: str, after: int) -> None:
        """Send every event after `after` until the call is cancelled or the subscriber has to be closed."""
        if self.subscribers >= SUBSCRIBERS_MAX:
            await subscriber.close(TRY_ELSEWHERE, "too many subscribers here")
            return
        feed = self._feeds.setdefault(market, self._make(market))
        feed.join()
        self.subscribers += 1
        try:
            code, reason = await self._follow(feed, subscriber, after)
            self._log.info("stream.closed", market=market, code=code, reason=reason)
            async with asyncio.timeout(CLOSE_S):
                await subscriber.close(code, reason)
        except TimeoutError:
            self._log.warning("stream.close_timed_out", market=market)
        finally:
            self.subscribers -= 1
            feed.leave()

    async def _follow(self, feed: Feed, subscriber: Subscriber, cursor: int) -> tuple[int, str]:
        """Send events until the stream has to end; return the close code and the reason."""
        in_ring = False
        while not feed.stale:
            texts = feed.since(cursor)
            if texts is None:
                if in_ring:
                    return TOO_SLOW, f"too slow: the buffer no longer holds the events after seq {cursor}"
                texts = await self._backfill(feed, cursor)
            else:
                in_ring = True
                if not texts:
                    await feed.news()
            for text in texts:
                try:
                    async with asyncio.timeout(SEND_STALL_S):
                        await subscriber.send(text)
                except TimeoutError:
                    return TOO_SLOW, f"too slow: could not send for {SEND_STALL_S} s after seq {cursor}"
                cursor += 1
        return TRY_ELSEWHERE, f"no market data here for {STALE_AFTER_S} s"

    async def _backfill(self, feed: Feed, cursor: int) -> list[str]:
        try:
            texts = await feed.page(cursor)
        except StoreUnavailable:
            texts = []  # The feed's poller sees the same failure and decides when the feed is stale.
        if not texts:
            await asyncio.sleep(BACKFILL_PAUSE_S)
        return texts
