"""Orders in DynamoDB: the transaction that makes intake exactly-once, and the reads that go with it.

Uniqueness rests on the record `key#<digest of (client, key)>`, not on the index over the orders, which is eventually
consistent. Record, order and outbox entry are written in one transaction, so every acknowledged order has its outbox
entry and will be sequenced.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from paperbroker.domain.events import IntakeEvent
from paperbroker.domain.orders import NewOrder, OrderStatus, idempotency_digest
from paperbroker.errors import StoreThrottled, StoreUnavailable
from paperbroker.settings import Tables
from paperbroker.storage.attributes import attributes, record
from paperbroker.storage.clients import reasons_of, unavailable_as

if TYPE_CHECKING:
    from botocore.client import BaseClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """One request to be written: its event, its content hash, and the answer that its client and every retry get."""

    event: IntakeEvent
    content_hash: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """The idempotency record of (client, key), written at its first use."""

    event_id: str
    content_hash: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The transaction wrote nothing.

    `key` is the idempotency record if the key was already used. `order_id_taken` is true if only the order id was
    already used. If neither is set, a concurrent transaction interfered.
    """

    key: KeyRecord | None = None
    order_id_taken: bool = False


class OrderTables:
    """Orders, and the outbox entries written with them (`storage.outbox` reads and deletes those)."""

    def __init__(self, dynamodb: BaseClient, tables: Tables) -> None:
        self._dynamodb: Any = dynamodb
        self._tables = tables

    def accept(self, acceptance: Acceptance, order: NewOrder | None) -> Refused | None:
        """Write the request once, as a whole or not at all; return None if written. `order` is None for a cancel.

        The ClientRequestToken lets a repeated call for the same acceptance, after a lost reply, succeed without a
        second write. Raises StoreThrottled if nothing was written, and StoreUnavailable if the outcome is unknown:
        `find_key` then tells whether the request was written.
        """
        writes = [self._key_write(acceptance), self._outbox_write(acceptance.event)]
        if order is not None:
            writes.append(self._order_write(order, acceptance.event))
        with unavailable_as(StoreUnavailable, "TransactWriteItems intake"):
            try:
                self._dynamodb.transact_write_items(TransactItems=writes, ClientRequestToken=acceptance.event.event_id)
            except ClientError as exc:
                refused = _refused(reasons_of(exc))
                if refused is None:
                    raise
                return refused
        return None

    def _key_write(self, acceptance: Acceptance) -> dict[str, Any]:
        """Build the write of the idempotency record. If the key exists, the refusal carries the existing record."""
        event = acceptance.event
        item = {
            "pk": f"key#{idempotency_digest(event.client_id, event.idempotency_key)}",
            "eventId": event.event_id,
            "contentHash": acceptance.content_hash,
            "answer": acceptance.answer,
            "createdAtNs": event.accepted_at_ns,
        }
        return {
            "Put": {
                "TableName": self._tables.orders,
                "Item": attributes(item),
                "ConditionExpression": "attribute_not_exists(pk)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _order_write(self, order: NewOrder, event: IntakeEvent) -> dict[str, Any]:
        """Build the write of the order, which is refused if the order id exists."""
        item = {
            "pk": f"order#{order.order_id}",
            "orderId": order.order_id,
            "clientId": order.client_id,
            "idempotencyKey": order.idempotency_key,
            "market": order.symbol,
            "side": order.side.value,
            "orderType": order.type.value,
            "tif": order.tif.value,
            "qty": order.qty,
            "price": order.price,
            "status": OrderStatus.ACCEPTED.value,
            "filledQty": 0,
            "acceptedAtNs": event.accepted_at_ns,
            "eventId": event.event_id,
        }
        return {
            "Put": {
                "TableName": self._tables.orders,
                "Item": attributes(item),
                "ConditionExpression": "attribute_not_exists(pk)",
            }
        }

    def _outbox_write(self, event: IntakeEvent) -> dict[str, Any]:
        """Build the write of the outbox entry, which is deleted once the queue has the event."""
        item = {
            "market": event.market,
            "eventId": event.event_id,
            "orderId": event.order_id,
            "acceptedAtNs": event.accepted_at_ns,
            "body": event.to_json(),
        }
        return {
            "Put": {
                "TableName": self._tables.outbox,
                "Item": attributes(item),
                "ConditionExpression": "attribute_not_exists(eventId)",
            }
        }

    def find_key(self, client_id: str, idempotency_key: str) -> KeyRecord | None:
        """Return the idempotency record of (client, key), read consistently."""
        return _key_record(self._get(f"key#{idempotency_digest(client_id, idempotency_key)}"))

    def find_order(self, order_id: str) -> dict[str, str | int] | None:
        """Return the order's record, read consistently."""
        return record(item) if (item := self._get(f"order#{order_id}")) else None

    def probe(self) -> None:
        """Do one cheap read. Raises StoreUnavailable if the table cannot be reached. Throttling is no error here."""
        with contextlib.suppress(StoreThrottled):
            self._get("probe#readiness")

    def _get(self, pk: str) -> dict[str, Any]:
        with unavailable_as(StoreUnavailable, f"GetItem {self._tables.orders}"):
            answer = self._dynamodb.get_item(TableName=self._tables.orders, Key={"pk": {"S": pk}}, ConsistentRead=True)
        return answer.get("Item", {})


def _refused(reasons: list[dict[str, Any]]) -> Refused | None:
    """Interpret the reasons for which a transaction was cancelled. Returns None for throttling and failures.

    The reason of the key record, which is the first write, is read first: a retry of an order is refused for the key
    and for the order id.
    """
    codes = [reason.get("Code", "None") for reason in reasons]
    if not set(codes) & {"ConditionalCheckFailed", "TransactionConflict"}:
        return None
    if codes[0] == "ConditionalCheckFailed":
        return Refused(key=_key_record(reasons[0].get("Item", {})))
    return Refused(order_id_taken="ConditionalCheckFailed" in codes and "TransactionConflict" not in codes)


def _key_record(item: dict[str, Any]) -> KeyRecord | None:
    if not item:
        return None
    return KeyRecord(event_id=item["eventId"]["S"], content_hash=item["contentHash"]["S"], answer=item["answer"]["S"])


def order_answer(order: NewOrder, accepted_at_ns: int) -> str:
    """Return the body of every acknowledgement of this order, byte for byte."""
    return json.dumps(
        {
            "orderId": order.order_id,
            "clientId": order.client_id,
            "idempotencyKey": order.idempotency_key,
            "symbol": order.symbol,
            "side": order.side.value,
            "type": order.type.value,
            "tif": order.tif.value,
            "qty": order.qty,
            "price": order.price,
            "status": OrderStatus.ACCEPTED.value,
            "acceptedAt": accepted_at_ns,
        },
        separators=(",", ":"),
    )
