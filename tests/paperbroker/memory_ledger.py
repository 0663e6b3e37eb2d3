"""An in-memory ledger with DynamoDB's semantics: a commit is applied as a whole or refused with the same errors."""

from __future__ import annotations

from collections import defaultdict

from paperbroker.domain.events import IntakeEvent, LedgerEvent
from paperbroker.errors import AlreadyApplied, FenceLost
from paperbroker.storage.ledger import TRANSACTION_ITEMS_MAX, Commit


class MemoryLedger:
    """Any number of matchers may share one ledger."""

    def __init__(self) -> None:
        self.events: dict[str, list[LedgerEvent]] = defaultdict(list)
        self.commits: list[Commit] = []
        self.applied: set[tuple[str, str]] = set()
        self.filled: dict[str, int] = defaultdict(int)
        self.status: dict[str, str] = {}
        self.qty: dict[tuple[str, str], int] = defaultdict(int)
        self.cash: dict[tuple[str, str], int] = defaultdict(int)
        self.accepted: dict[str, IntakeEvent] = {}  # By order id: the orders that intake has stored.

    def read_after(self, market: str, seq: int, limit: int = 0) -> list[LedgerEvent]:
        rows = self.events[market][seq:]
        return rows[:limit] if limit else rows

    def unsequenced_order(self, order_id: str) -> IntakeEvent | None:
        return None if order_id in self.status else self.accepted.get(order_id)

    def probe(self) -> None:
        """Succeed: this ledger is always reachable."""

    def commit(self, commit: Commit) -> None:
        assert commit.items <= TRANSACTION_ITEMS_MAX
        if len(self.events[commit.market]) != commit.after_seq:
            raise FenceLost(commit.market)
        known = frozenset(e for e in commit.event_ids if (commit.market, e) in self.applied)
        if known:
            raise AlreadyApplied(known)
        self._apply(commit)

    def _apply(self, commit: Commit) -> None:
        self.commits.append(commit)
        self.events[commit.market] += commit.events
        self.applied |= {(commit.market, event_id) for event_id in commit.event_ids}
        for order_id, change in commit.postings.orders.items():
            self.filled[order_id] += change.filled_qty
            self.status[order_id] = change.status.value
        for client_id, balance in commit.postings.balances.items():
            self.qty[client_id, commit.market] += balance.qty
            self.cash[client_id, commit.market] += balance.cash
