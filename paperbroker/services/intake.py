"""Taking orders and cancels: each (client, key) has one effect and one answer, however often it is asked.

Owns the decision between first, repeated, refused and unknown. Must not know HTTP; the tables decide what is new.

A 2xx stands on the transaction alone. The event goes to the queue in the background; if this process dies before
that, the outbox entry is still there and the relay sends it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from paperbroker.domain.events import IntakeEvent, IntakeType
from paperbroker.domain.orders import CancelOrder, NewOrder
from paperbroker.errors import IdempotencyKeyReused, NotOwner, OrderIdReused, StoreUnavailable, UnknownOrder
from paperbroker.services.backoff import Backoff
from paperbroker.storage.tables import Acceptance, KeyRecord, OrderTables, order_answer

# Concurrent transactions on one key or order: the rival is done within a few milliseconds.
CONFLICTS_MAX = 5
# Later than this, nobody waits for the answer any more: say "unknown" instead of asking again.
ASK_AGAIN_UNTIL_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The answer to a request: the same bytes for every repetition; `first` if this one had the effect."""

    first: bool
    answer: str


class Outbound(Protocol):
    def offer(self, event: IntakeEvent) -> None: ...


class Intake:
    """Blocking; called from many threads."""

    def __init__(
        self,
        tables: OrderTables,
        outbound: Outbound,
        now_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._tables = tables
        self._outbound = outbound
        self._now_ns = now_ns
        self._sleep = sleep

    def submit(self, order: NewOrder, trace_id: str) -> Receipt:
        """Accept the order once. IdempotencyKeyReused, OrderIdReused: no effect. StoreUnavailable: unknown."""
        accepted_at_ns = self._now_ns()
        event = IntakeEvent(
            event_id=uuid.uuid4().hex,
            type=IntakeType.ORDER_ACCEPTED.value,
            market=order.symbol,
            order_id=order.order_id,
            client_id=order.client_id,
            idempotency_key=order.idempotency_key,
            side=order.side.value,
            order_type=order.type.value,
            tif=order.tif.value,
            qty=order.qty,
            price=order.price,
            accepted_at_ns=accepted_at_ns,
            trace_id=trace_id,
        )
        answer = order_answer(order, accepted_at_ns)
        return self._accept(Acceptance(event=event, content_hash=order.content_hash(), answer=answer), order)

    def cancel(self, cancel: CancelOrder, trace_id: str) -> Receipt:
        """Ask once for the order to be taken off the book; the ledger tells what came of it."""
        found = self._tables.find_order(cancel.order_id)
        if found is None:
            raise UnknownOrder(cancel.order_id)
        if found["clientId"] != cancel.client_id:
            raise NotOwner(f"{cancel.order_id} is not of {cancel.client_id}")
        accepted_at_ns = self._now_ns()
        event = IntakeEvent(
            event_id=uuid.uuid4().hex,
            type=IntakeType.CANCEL_REQUESTED.value,
            market=str(found["market"]),
            order_id=cancel.order_id,
            client_id=cancel.client_id,
            idempotency_key=cancel.idempotency_key,
            accepted_at_ns=accepted_at_ns,
            trace_id=trace_id,
        )
        answer = _cancel_answer(cancel, event)
        return self._accept(Acceptance(event=event, content_hash=cancel.content_hash(), answer=answer), None)

    def _accept(self, acceptance: Acceptance, order: NewOrder | None) -> Receipt:
        started = time.monotonic()
        backoff = Backoff(first_s=0.01, limit_s=0.2)
        for _ in range(CONFLICTS_MAX):
            try:
                refused = self._tables.accept(acceptance, order)
            except StoreUnavailable:
                if time.monotonic() - started > ASK_AGAIN_UNTIL_S:
                    raise
                return self._look_up_or_raise(acceptance)
            if refused is None:
                return self._first(acceptance)
            if refused.order_id_taken:
                raise OrderIdReused(acceptance.event.order_id)
            key = refused.key or self._find_key(acceptance)
            if key is not None:
                return self._again(acceptance, key)
            self._sleep(backoff.next_s())
        raise StoreUnavailable(f"{CONFLICTS_MAX} transactions in a row met a rival on {acceptance.event.order_id}")

    def _look_up_or_raise(self, acceptance: Acceptance) -> Receipt:
        """Of a write whose reply was lost, the record tells; without a record it is unknown, and may still land."""
        key = self._find_key(acceptance)
        if key is None:
            raise StoreUnavailable(f"outcome of {acceptance.event.order_id} is unknown")
        return self._again(acceptance, key)

    def _find_key(self, acceptance: Acceptance) -> KeyRecord | None:
        return self._tables.find_key(acceptance.event.client_id, acceptance.event.idempotency_key)

    def _first(self, acceptance: Acceptance) -> Receipt:
        self._outbound.offer(acceptance.event)
        return Receipt(first=True, answer=acceptance.answer)

    def _again(self, acceptance: Acceptance, key: KeyRecord) -> Receipt:
        if key.event_id == acceptance.event.event_id:
            return self._first(acceptance)  # our own write, whose reply we did not see
        if key.content_hash != acceptance.content_hash:
            event = acceptance.event
            raise IdempotencyKeyReused(f"{event.idempotency_key} of {event.client_id} stands for other content")
        return Receipt(first=False, answer=key.answer)


def _cancel_answer(cancel: CancelOrder, event: IntakeEvent) -> str:
    return json.dumps(
        {
            "orderId": cancel.order_id,
            "clientId": cancel.client_id,
            "idempotencyKey": cancel.idempotency_key,
            "symbol": event.market,
            "status": "CANCEL_REQUESTED",
            "acceptedAt": event.accepted_at_ns,
        },
        separators=(",", ":"),
    )
