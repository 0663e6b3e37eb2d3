"""The outbox in DynamoDB: accepted events that the queue may not have yet.

This module finds and deletes entries; `storage.tables` writes them in one transaction with their order. An entry's key
begins with its time of acceptance (`services.intake`), so that a market's entries are read oldest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paperbroker.domain.events import IntakeEvent
from paperbroker.errors import StoreUnavailable
from paperbroker.settings import Tables
from paperbroker.storage.clients import unavailable_as

if TYPE_CHECKING:
    from botocore.client import BaseClient

DELETE_MAX = 25  # The limit of BatchWriteItem.
PAGE_ENTRIES = 200
SCAN_ENTRIES = 1000
SCAN_PAGES_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Entries of one market, oldest first. `unreadable` are the ids of entries without a valid event."""

    events: tuple[IntakeEvent, ...]
    unreadable: tuple[str, ...]


class Outbox:
    """Find and delete outbox entries."""

    def __init__(self, dynamodb: BaseClient, tables: Tables) -> None:
        self._dynamodb: Any = dynamodb
        self._table = tables.outbox

    def forget(self, events: Iterable[IntakeEvent]) -> None:
        """Delete entries whose events the queue has. An entry that remains is sent again and deduplicated."""
        keys = [{"market": {"S": e.market}, "eventId": {"S": e.event_id}} for e in events]
        for start in range(0, len(keys), DELETE_MAX):
            requests = [{"DeleteRequest": {"Key": key}} for key in keys[start : start + DELETE_MAX]]
            with unavailable_as(StoreUnavailable, f"BatchWriteItem {self._table}"):
                self._dynamodb.batch_write_item(RequestItems={self._table: requests})

    def markets_older_than(self, accepted_before_ns: int) -> frozenset[str]:
        """Return some of the markets with entries accepted before that time; empty if there are none."""
        scan: dict[str, Any] = {"ProjectionExpression": "market", "Limit": SCAN_ENTRIES}
        for _ in range(SCAN_PAGES_MAX):
            with unavailable_as(StoreUnavailable, f"Scan {self._table}"):
                page = self._dynamodb.scan(
                    TableName=self._table, ConsistentRead=True, **scan, **_older(accepted_before_ns)
                )
            if page["Items"] or "LastEvaluatedKey" not in page:
                return frozenset(item["market"]["S"] for item in page["Items"])
            scan["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return frozenset()

    def older_than(self, market: str, accepted_before_ns: int, pages_max: int) -> Iterator[Page]:
        """Yield the market's entries accepted before that time, oldest first, without empty pages."""
        query: dict[str, Any] = {}
        older = _older(accepted_before_ns)
        older["ExpressionAttributeValues"][":market"] = {"S": market}
        for _ in range(pages_max):
            with unavailable_as(StoreUnavailable, f"Query {self._table}"):
                page = self._dynamodb.query(
                    TableName=self._table,
                    ConsistentRead=True,
                    Limit=PAGE_ENTRIES,
                    KeyConditionExpression="market = :market",
                    **older,
                    **query,
                )
            if page["Items"]:
                yield _page(page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            query = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _older(accepted_before_ns: int) -> dict[str, Any]:
    """Filter by attribute, not by key, so that entries written by another version of PaperBroker are found too."""
    return {
        "FilterExpression": "acceptedAtNs < :before",
        "ExpressionAttributeValues": {":before": {"N": str(accepted_before_ns)}},
    }


def _page(items: list[Mapping[str, Any]]) -> Page:
    events: list[IntakeEvent] = []
    unreadable: list[str] = []
    for item in items:
        try:
            events.append(IntakeEvent.from_json(item["body"]["S"]))
        except (KeyError, ValueError):
            unreadable.append(str(item["eventId"].get("S", "")))
    events.sort(key=lambda event: event.accepted_at_ns)
    return Page(events=tuple(events), unreadable=tuple(unreadable))
