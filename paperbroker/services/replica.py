"""Keep this process's copy of one market: its book at sequence `seq`, built from committed ledger events.

Commits are planned on a draft of the book, never on the copy itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

from paperbroker.domain.book import Book
from paperbroker.domain.events import LedgerEvent
from paperbroker.errors import LedgerCorrupt

# A forgotten id costs one refused transaction if its event is delivered again; the Applied table keeps it longer.
APPLIED_IDS_MAX = 50_000


class LedgerReader(Protocol):
    def read_after(self, market: str, seq: int, limit: int = 0) -> list[LedgerEvent]: ...


class Replica:
    """Not thread-safe: only one thread at a time may work on a market."""

    def __init__(self, market: str) -> None:
        self.market = market
        self.seq = 0
        self.book = Book()
        self._applied: OrderedDict[str, None] = OrderedDict()

    def catch_up(self, ledger: LedgerReader) -> int:
        """Read and apply the events that others committed; return how many."""
        events = ledger.read_after(self.market, self.seq)
        for event in events:
            if event.seq != self.seq + 1:
                raise LedgerCorrupt(f"{self.market}: seq {event.seq} follows {self.seq}")
            self.book.apply(event)
            self.seq = event.seq
        self.book.settle()
        self.remember(dict.fromkeys(event.event_id for event in events))
        return len(events)

    def adopt(self, book: Book, seq: int, event_ids: Iterable[str]) -> None:
        """Replace the book by the draft of a commit that was written."""
        book.settle()
        self.book, self.seq = book, seq
        self.remember(event_ids)

    def knows(self, event_id: str) -> bool:
        return event_id in self._applied

    def remember(self, event_ids: Iterable[str]) -> None:
        for event_id in event_ids:
            self._applied[event_id] = None
        while len(self._applied) > APPLIED_IDS_MAX:
            self._applied.popitem(last=False)
