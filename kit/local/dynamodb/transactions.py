"""Serve TransactWriteItems and TransactGetItems with conflicts.

MiniStack runs a request in one step, so two requests could never conflict. On AWS transactions have two phases: while
one is prepared, other writes of its items are refused. Here TransactWriteItems holds its items for a short window
before MiniStack applies it, and other writes in this window conflict.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import dynamodb

from kit.local.dynamodb import wire
from kit.local.dynamodb.capacity import TRANSACTIONAL, Capacity, table_units, touching, touching_by_update
from kit.local.dynamodb.items import Call, Request, is_item
from kit.local.dynamodb.locks import Locks
from kit.local.dynamodb.tables import Key, Table, Tables
from kit.local.dynamodb.units import item_read_units
from kit.local.dynamodb.wire import Answer, Reason, Throttle
from kit.local.main_loop import on_main_loop

# Between prepare and commit. AWS needs about 10 ms. This is long enough for concurrent writes to conflict, and short
# compared with the rest of a call.
WINDOW_S = 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One item of a transaction."""

    action: str
    request: dict[str, Any]
    table: Table
    key: Key


class TransactionGate:
    """Admit transactions, hold their items, and pay for them."""

    def __init__(self, tables: Tables, capacity: Capacity, locks: Locks) -> None:
        self._tables = tables
        self._capacity = capacity
        self._locks = locks
        # Step Functions may call from a loop of its own; everything but the wait must run on the main loop.
        self._prepare = on_main_loop(self._prepare_here)
        self._commit = on_main_loop(self._commit_here)
        self._abandon = on_main_loop(self._abandon_here)

    async def write(self, call: Call, request: Request) -> Answer:
        """Serve TransactWriteItems."""
        token = _token(request)
        ready = self._prepare(request, token)
        if not isinstance(ready, list):
            return ready or call(request)
        try:
            await asyncio.sleep(WINDOW_S)
        except asyncio.CancelledError:
            self._abandon(ready, token)
            raise
        return self._commit(call, request, ready, token)

    def _prepare_here(self, request: Request, token: str) -> list[Part] | Answer | None:
        """Hold the items and return them; or return a refusal, or None for a request that MiniStack answers at once."""
        if token and self._locks.runs(token):
            return wire.in_progress()
        parts = self._parts(request)
        if parts is None or (token and dynamodb._txn_token_lookup(request["ClientRequestToken"]) is not None):
            return None
        refused = self._refuse_conflict(parts) or self._refuse_throttled(parts, "TransactWriteItems")
        if refused:
            return refused
        self._locks.take({part.key for part in parts}, token)
        return parts

    def _abandon_here(self, parts: list[Part], token: str) -> None:
        self._locks.release({part.key for part in parts}, token)

    def _commit_here(self, call: Call, request: Request, parts: list[Part], token: str) -> Answer:
        self._abandon_here(parts, token)
        before = [part.table.item(part.key) for part in parts]
        self._capacity.factor = TRANSACTIONAL
        try:
            answer = call(request)
        finally:
            self._capacity.factor = 1.0
        is_cancelled = wire.code_of(answer) == "TransactionCanceledException"
        if answer[0] == 200 or is_cancelled:
            for part, item in zip(parts, before, strict=True):
                # Applied writes have been charged already; a cancelled transaction is charged for its reads.
                if is_cancelled or part.action == "ConditionCheck" or (part.action == "Delete" and item is None):
                    self._capacity.pay_units(part.table, TRANSACTIONAL * table_units(item, None))
        return answer

    def get(self, call: Call, request: Request) -> Answer:
        """Serve TransactGetItems."""
        parts = self._parts(request)
        if parts is None:
            return call(request)
        refused = self._refuse_conflict(parts) or self._refuse_throttled(parts, "TransactGetItems")
        if refused:
            return refused
        answer = call(request)
        if answer[0] == 200:
            for part in parts:
                self._capacity.pay_read(part.table, TRANSACTIONAL * item_read_units(part.table.item(part.key)))
        return answer

    def _refuse_conflict(self, parts: list[Part]) -> Answer | None:
        if not self._locks:
            return None
        conflicts = [self._locks.holds(part.key) for part in parts]
        if not any(conflicts):
            return None
        for part, conflict in zip(parts, conflicts, strict=True):
            part.table.meter.conflicts += conflict
        return wire.cancelled([wire.conflict_reason() if each else wire.NO_REASON for each in conflicts])

    def _refuse_throttled(self, parts: list[Part], operation: str) -> Answer | None:
        if not any(part.table.is_limited for part in parts):
            return None
        throttles = [self._throttle(part) for part in parts]
        if not any(throttles):
            return None
        for table in {part.table.arn: part.table for part, met in zip(parts, throttles, strict=True) if met}.values():
            table.meter.requests[operation] += 1
        reasons: list[Reason] = [each.reason() if each else wire.NO_REASON for each in throttles]
        return wire.cancelled(reasons)

    def _throttle(self, part: Part) -> Throttle | None:
        if part.action == "Get":
            return self._capacity.read_throttle(part.table)
        old = part.table.item(part.key)
        if part.action == "Update":
            touches = touching_by_update(old, part.request)
        elif part.action == "ConditionCheck":
            touches = touching(None, None)
        else:
            new = part.request.get("Item") if part.action == "Put" else None
            touches = touching(old, new)
        return self._capacity.write_throttle(part.table, touches)

    def _parts(self, request: Request) -> list[Part] | None:
        """Return the items of a transaction, or None for one that MiniStack will refuse."""
        wanted = request.get("TransactItems")
        if not isinstance(wanted, list) or not wanted:
            return None
        parts = []
        for each in wanted:
            part = self._part(each) if isinstance(each, dict) and len(each) == 1 else None
            if part is None:
                return None
            parts.append(part)
        return parts

    def _part(self, each: dict[str, Any]) -> Part | None:
        ((action, asked),) = each.items()
        if not isinstance(asked, dict):
            return None
        addressed = asked.get("Item" if action == "Put" else "Key")
        table = self._tables.find(asked.get("TableName"))
        key = table.key(addressed) if table is not None and is_item(addressed) else None
        return None if table is None or key is None else Part(action=action, request=asked, table=table, key=key)


def _token(request: Request) -> str:
    """Return the request's token with its account and Region; empty without a token."""
    token = request.get("ClientRequestToken")
    return f"{get_account_id()}/{get_region()}/{token}" if token else ""
