"""The ledger in DynamoDB: one transaction per commit, fenced on the market's sequence.

Isolation: a Query may see part of a transaction that is being committed, so readers take only the contiguous events;
the rest is there at the next read. A writer that has read a partial transaction is fenced, because `Markets.seq` is not
what it expects.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from paperbroker.domain.events import IntakeEvent, IntakeType, LedgerEvent
from paperbroker.domain.orders import OrderStatus
from paperbroker.domain.postings import Postings
from paperbroker.errors import AlreadyApplied, FenceLost, StoreContended, StoreThrottled, StoreUnavailable
from paperbroker.settings import Tables
from paperbroker.storage.attributes import attributes, record
from paperbroker.storage.clients import reasons_of, unavailable_as

if TYPE_CHECKING:
    from botocore.client import BaseClient

TRANSACTION_ITEMS_MAX = 100
# An event can come again for as long as a queue keeps messages (14 days), so its mark outlives that.
APPLIED_TTL_S = 15 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The outcome of some commands of one market, written as a whole or not at all."""

    market: str
    after_seq: int
    events: tuple[LedgerEvent, ...]
    postings: Postings
    event_ids: tuple[str, ...]

    @property
    def items(self) -> int:
        """Return the number of items of the transaction."""
        postings = self.postings
        return 1 + len(self.events) + len(postings.orders) + len(postings.balances) + len(self.event_ids)


class LedgerTables:
    """Access to the tables Ledger, Markets, Positions and Applied, and to the state of orders."""

    def __init__(self, dynamodb: BaseClient, tables: Tables, now_s: Callable[[], float] = time.time) -> None:
        self._dynamodb: Any = dynamodb
        self._tables = tables
        self._now_s = now_s

    def read_after(self, market: str, seq: int, limit: int = 0) -> list[LedgerEvent]:
        """Return the contiguous events from `seq` + 1 on: all, or the first `limit`."""
        found: list[LedgerEvent] = []
        start: dict[str, Any] = {"Limit": limit} if limit else {}
        while True:
            with unavailable_as(StoreUnavailable, f"Query {self._tables.ledger}"):
                page = self._dynamodb.query(
                    TableName=self._tables.ledger,
                    ConsistentRead=True,
                    KeyConditionExpression="market = :market AND #seq > :seq",
                    ExpressionAttributeNames={"#seq": "seq"},
                    ExpressionAttributeValues={":market": {"S": market}, ":seq": {"N": str(seq)}},
                    **start,
                )
            for item in page["Items"]:
                event = LedgerEvent.from_record(record(item))
                if event.seq != seq + len(found) + 1:
                    return found
                found.append(event)
            if "LastEvaluatedKey" not in page or (limit and len(found) >= limit):
                return found
            start["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def seq_of(self, market: str) -> int:
        """Return the market's last sequence, read consistently; 0 if it has no event yet."""
        with unavailable_as(StoreUnavailable, f"GetItem {self._tables.markets}"):
            answer = self._dynamodb.get_item(
                TableName=self._tables.markets, Key={"market": {"S": market}}, ConsistentRead=True
            )
        return int(answer["Item"]["seq"]["N"]) if "Item" in answer else 0

    def commit(self, commit: Commit) -> None:
        """Write the commit once.

        Raises FenceLost, AlreadyApplied, StoreContended or StoreThrottled if nothing was written, StoreUnavailable if
        the outcome is unknown.
        """
        writes = self._writes(commit)
        with unavailable_as(StoreUnavailable, "TransactWriteItems ledger"):
            try:
                self._dynamodb.transact_write_items(TransactItems=writes, ClientRequestToken=_token(commit))
            except ClientError as exc:
                _raise_decision(commit, reasons_of(exc))
                raise

    def unsequenced_order(self, order_id: str) -> IntakeEvent | None:
        """Return the event of an order that was accepted and is not yet in the ledger, built from its record."""
        with unavailable_as(StoreUnavailable, f"GetItem {self._tables.orders}"):
            answer = self._dynamodb.get_item(
                TableName=self._tables.orders, Key={"pk": {"S": f"order#{order_id}"}}, ConsistentRead=True
            )
        order: dict[str, Any] = record(answer.get("Item", {}))
        if order.get("status") != OrderStatus.ACCEPTED:  # Sequencing always changes the status.
            return None
        return IntakeEvent(
            event_id=order["eventId"],
            type=IntakeType.ORDER_ACCEPTED.value,
            market=order["market"],
            order_id=order["orderId"],
            client_id=order["clientId"],
            idempotency_key=order["idempotencyKey"],
            side=order["side"],
            order_type=order["orderType"],
            tif=order["tif"],
            qty=order["qty"],
            price=order["price"],
            accepted_at_ns=order["acceptedAtNs"],
        )

    def probe(self) -> None:
        """Do one cheap read. Raises StoreUnavailable if the tables cannot be reached; throttling counts as reached."""
        with contextlib.suppress(StoreThrottled):
            self.seq_of("probe")

    def _writes(self, commit: Commit) -> list[dict[str, Any]]:
        """Put the fence first and the marks next, so that their cancellation reasons have known positions."""
        postings = commit.postings
        return [
            self._fence(commit),
            *(self._applied(commit.market, event_id) for event_id in commit.event_ids),
            *(self._event(event) for event in commit.events),
            *(
                self._update(
                    self._tables.orders,
                    {"pk": f"order#{order_id}"},
                    "SET #status = :status ADD filledQty :filled",
                    {":status": change.status.value, ":filled": change.filled_qty},
                    ExpressionAttributeNames={"#status": "status"},
                )
                for order_id, change in postings.orders.items()
            ),
            *(
                self._update(
                    self._tables.positions,
                    {"clientId": client_id, "market": commit.market},
                    "ADD qty :qty, cash :cash",
                    {":qty": balance.qty, ":cash": balance.cash},
                )
                for client_id, balance in postings.balances.items()
            ),
        ]

    def _fence(self, commit: Commit) -> dict[str, Any]:
        first = "attribute_not_exists(#seq)" if commit.after_seq == 0 else "#seq = :after"
        after: dict[str, str | int] = {} if commit.after_seq == 0 else {":after": commit.after_seq}
        return self._update(
            self._tables.markets,
            {"market": commit.market},
            "SET #seq = :seq",
            {":seq": commit.after_seq + len(commit.events), **after},
            ConditionExpression=first,
            ExpressionAttributeNames={"#seq": "seq"},
        )

    def _applied(self, market: str, event_id: str) -> dict[str, Any]:
        expires_s = (
            int(self._now_s()) // 3600 * 3600 + APPLIED_TTL_S
        )  # Whole hours, so that a repeated commit is identical.
        item: dict[str, str | int] = {"market": market, "eventId": event_id, "ttl": expires_s}
        return _put_new(self._tables.applied, item, "eventId")

    def _event(self, event: LedgerEvent) -> dict[str, Any]:
        return _put_new(self._tables.ledger, event.to_record(), "market")

    def _update(
        self, table: str, key: dict[str, str], expression: str, values: dict[str, str | int], **more: Any
    ) -> dict[str, Any]:
        return {
            "Update": {
                "TableName": table,
                "Key": attributes(key),
                "UpdateExpression": expression,
                "ExpressionAttributeValues": attributes(values),
                **more,
            }
        }


def _put_new(table: str, item: dict[str, str | int], key: str) -> dict[str, Any]:
    condition = f"attribute_not_exists({key})"
    return {"Put": {"TableName": table, "Item": attributes(item), "ConditionExpression": condition}}


def _token(commit: Commit) -> str:
    """Return the token of a commit: the same for botocore's retries, another for other commands, sequence or time."""
    text = "|".join([commit.market, str(commit.after_seq), str(commit.events[0].ts_ns), *commit.event_ids])
    return hashlib.sha256(text.encode()).hexdigest()[:36]


def _raise_decision(commit: Commit, reasons: list[dict[str, Any]]) -> None:
    """Raise the error that the cancellation reasons mean; return if they mean throttling or a failure."""
    codes = [reason.get("Code", "None") for reason in reasons]
    if not codes:
        return
    marks = codes[1 : 1 + len(commit.event_ids)]
    rest = codes[1 + len(commit.event_ids) :]
    if codes[0] == "ConditionalCheckFailed" or "ConditionalCheckFailed" in rest:
        raise FenceLost(f"{commit.market}: not at seq {commit.after_seq}")
    applied = [i for i, code in zip(commit.event_ids, marks, strict=True) if code == "ConditionalCheckFailed"]
    if applied:
        raise AlreadyApplied(frozenset(applied))
    if "TransactionConflict" in codes:
        raise StoreContended(f"{commit.market}: conflicting transaction at seq {commit.after_seq}")
