"""Reads of orders return the current state, whatever was read before."""

from __future__ import annotations

from typing import Any

import pytest

from paperbroker.domain.events import IntakeEvent
from paperbroker.errors import NotOwner, UnknownOrder
from paperbroker.services.intake import Intake
from paperbroker.services.queries import Queries
from paperbroker.storage.attributes import attributes
from paperbroker.storage.ledger import LedgerTables
from paperbroker.storage.tables import OrderTables
from tests.paperbroker.paperbroker_rig import MARKETS, new_order
from tests.paperbroker.scripted_aws import TABLES, Step, scripted

LIFE = [("ACCEPTED", 0), ("OPEN", 0), ("PARTIALLY_FILLED", 2), ("PARTIALLY_FILLED", 4), ("FILLED", 5)]


class Store:
    """A table that stores intake's writes; `match` sets what a matcher would write."""

    def __init__(self) -> None:
        self._items: dict[str, dict[str, Any]] = {}
        self.client, self.sent = scripted("dynamodb", self._answer)

    def _answer(self, request: dict[str, Any]) -> Step:
        if "TransactItems" in request:
            items = [write["Put"]["Item"] for write in request["TransactItems"]]
            self._items |= {item["pk"]["S"]: item for item in items if "pk" in item}
            return 200, {}
        found = self._items.get(request["Key"]["pk"]["S"])
        return 200, {"Item": found} if found else {}

    def accept(self, n: int) -> None:
        Intake(OrderTables(self.client, TABLES), self).submit(new_order(n), "trace")

    def offer(self, event: IntakeEvent) -> None:
        """Drop the event: nothing is sequenced here."""

    def match(self, n: int, status: str, filled_qty: int) -> None:
        self._items[f"order#o{n}"] |= attributes({"status": status, "filledQty": filled_qty})

    def task(self) -> Queries:
        return Queries(OrderTables(self.client, TABLES), LedgerTables(self.client, TABLES), MARKETS)


@pytest.fixture
def store() -> Store:
    return Store()


def state(task: Queries, n: int = 1) -> tuple[str, int]:
    found = task.order(f"o{n}", "c1")
    return found["status"], found["filledQty"]


def test_each_read_returns_the_current_state(store: Store):
    """In each of two tasks, right after each change: no read is older than one before it."""
    store.accept(1)
    tasks = [store.task(), store.task()]
    seen: list[tuple[str, int]] = []
    for status, filled_qty in LIFE:
        store.match(1, status, filled_qty)
        seen += [state(task) for task in tasks]
    assert seen == [each for each in LIFE for _ in tasks]


def test_a_read_returns_its_own_order(store: Store):
    store.accept(1)
    store.accept(2)
    task = store.task()
    store.match(2, "FILLED", 5)
    assert [state(task, n) for n in (1, 2, 1)] == [("ACCEPTED", 0), ("FILLED", 5), ("ACCEPTED", 0)]


def test_order_is_found_although_an_earlier_read_did_not_find_it(store: Store):
    """A missing order is not cached."""
    task = store.task()
    with pytest.raises(UnknownOrder):
        task.order("o1", "c1")
    store.accept(1)
    assert state(task) == ("ACCEPTED", 0)


def test_another_client_is_refused_after_the_owner_has_read(store: Store):
    store.accept(1)
    task = store.task()
    assert state(task) == ("ACCEPTED", 0)
    with pytest.raises(NotOwner):
        task.order("o1", "c2")


def test_every_read_of_an_order_is_consistent(store: Store):
    """DynamoDB's default read may return an older state than an earlier read."""
    store.accept(1)
    task = store.task()
    before = len(store.sent)
    for _ in range(3):
        task.order("o1", "c1")
    assert [request.get("ConsistentRead") for request in store.sent[before:]] == [True] * 3
