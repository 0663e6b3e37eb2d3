"""Accept orders and cancels: each (client, key) has one effect and one answer, however often it is submitted.

A 2xx rests on the transaction alone. The event is sent to the queue in the background. If this process dies first, the
outbox entry remains and the relay sends it.

Retries: after throttling, a conflicting transaction or a lost answer, the *same* transaction is tried again while time
is left; its token makes that safe. When time is up, the outcome is unknown only if one of the tries may have been
written.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from paperbroker.domain.events import IntakeEvent, IntakeType
from paperbroker.domain.orders import CancelOrder, NewOrder
from paperbroker.errors import (
    IdempotencyKeyReused,
    NotOwner,
    OrderIdReused,
    Overloaded,
    StoreContended,
    StoreUnavailable,
    UnknownOrder,
)
from paperbroker.services.retry_budget import REQUEST_S, RetryBudget
from paperbroker.storage.tables import Acceptance, KeyRecord, OrderTables, order_answer

OWNERS_MAX = 10_000  # Orders remembered: some minutes of a busy task.


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The answer to a request: the same bytes for every retry. `first` marks the request that had the effect."""

    first: bool
    answer: str


class Outbound(Protocol):
    def offer(self, event: IntakeEvent) -> None: ...


class Intake:
    """Accept requests. Methods block; they may be called from many threads."""

    def __init__(
        self,
        tables: OrderTables,
        outbound: Outbound,
        now_ns: Callable[[], int] = time.time_ns,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._tables = tables
        self._outbound = outbound
        self._now_ns = now_ns
        self._now_s = now_s
        self._sleep = sleep
        self._owners = _Owners()

    def submit(self, order: NewOrder, trace_id: str, until: float | None = None) -> Receipt:
        """Accept the order once, retrying until `until` on the monotonic clock (default: REQUEST_S from now).

        Raises IdempotencyKeyReused, OrderIdReused, Overloaded, StoreThrottled or StoreContended if the order had no
        effect, StoreUnavailable if its outcome is unknown.
        """
        accepted_at_ns = self._now_ns()
        event = IntakeEvent(
            event_id=_event_id(accepted_at_ns),
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
        acceptance = Acceptance(event=event, content_hash=order.content_hash(), answer=answer)
        return self._accept(acceptance, order, self._until(until))

    def cancel(self, cancel: CancelOrder, trace_id: str, until: float | None = None) -> Receipt:
        """Accept the cancel once. The ledger tells whether the order was cancelled."""
        until = self._until(until)
        client_id, market = self._owners.get(cancel.order_id) or self._find_owner(cancel.order_id, until)
        if client_id != cancel.client_id:
            raise NotOwner(f"{cancel.order_id} is not of {cancel.client_id}")
        accepted_at_ns = self._now_ns()
        event = IntakeEvent(
            event_id=_event_id(accepted_at_ns),
            type=IntakeType.CANCEL_REQUESTED.value,
            market=market,
            order_id=cancel.order_id,
            client_id=cancel.client_id,
            idempotency_key=cancel.idempotency_key,
            accepted_at_ns=accepted_at_ns,
            trace_id=trace_id,
        )
        answer = _cancel_answer(cancel, event)
        return self._accept(Acceptance(event=event, content_hash=cancel.content_hash(), answer=answer), None, until)

    def _until(self, until: float | None) -> float:
        return self._now_s() + REQUEST_S if until is None else until

    def _find_owner(self, order_id: str, until: float) -> tuple[str, str]:
        """Return client and market of the order. A cancel whose order cannot be read in time has had no effect."""
        retry_budget = RetryBudget(until, self._now_s, self._sleep)
        while True:
            try:
                found = self._tables.find_order(order_id)
            except StoreUnavailable as exc:
                retry_budget.record_failure(exc)
                if not retry_budget.may_retry():
                    raise retry_budget.read_error(order_id) from exc
            else:
                if found is None:
                    raise UnknownOrder(order_id)
                return str(found["clientId"]), str(found["market"])

    def _accept(self, acceptance: Acceptance, order: NewOrder | None, until: float) -> Receipt:
        retry_budget = RetryBudget(until, self._now_s, self._sleep)
        if not retry_budget.has_time():
            raise Overloaded(f"no time left to write {acceptance.event.order_id}")
        while True:
            try:
                receipt = self._try(acceptance, order)
            except StoreUnavailable as exc:
                retry_budget.record_failure(exc)
            else:
                if receipt is not None:
                    return receipt
                retry_budget.record_failure(StoreContended(f"conflicting transaction on {acceptance.event.order_id}"))
            if not retry_budget.may_retry():
                raise retry_budget.write_error(acceptance.event.order_id)

    def _try(self, acceptance: Acceptance, order: NewOrder | None) -> Receipt | None:
        """Return the receipt, or None if a concurrent transaction interfered and its result cannot be read yet."""
        refused = self._tables.accept(acceptance, order)
        if refused is None:
            return self._first(acceptance)
        if refused.order_id_taken:
            raise OrderIdReused(acceptance.event.order_id)
        key = refused.key or self._find_key(acceptance)
        return None if key is None else self._again(acceptance, key)

    def _find_key(self, acceptance: Acceptance) -> KeyRecord | None:
        return self._tables.find_key(acceptance.event.client_id, acceptance.event.idempotency_key)

    def _first(self, acceptance: Acceptance) -> Receipt:
        event = acceptance.event
        if event.type == IntakeType.ORDER_ACCEPTED:
            self._owners.put(event.order_id, event.client_id, event.market)
        self._outbound.offer(event)
        return Receipt(first=True, answer=acceptance.answer)

    def _again(self, acceptance: Acceptance, key: KeyRecord) -> Receipt:
        if key.event_id == acceptance.event.event_id:
            return self._first(acceptance)  # This request's own write, whose reply was lost.
        if key.content_hash != acceptance.content_hash:
            event = acceptance.event
            raise IdempotencyKeyReused(f"{event.idempotency_key} of {event.client_id} was used for other content")
        return Receipt(first=False, answer=key.answer)


class _Owners:
    """Client and market of the orders accepted by this task.

    They never change, so a cancel that reaches the task of its order needs one store call instead of two.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def get(self, order_id: str) -> tuple[str, str] | None:
        return self._found.get(order_id)

    def put(self, order_id: str, client_id: str, market: str) -> None:
        with self._lock:
            self._found[order_id] = client_id, market
            if len(self._found) > OWNERS_MAX:
                self._found.popitem(last=False)


def _event_id(accepted_at_ns: int) -> str:
    """Return a unique id that sorts by time of acceptance, so that reading the outbox by key gives the oldest first."""
    return f"{accepted_at_ns:016x}{secrets.token_hex(8)}"


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
