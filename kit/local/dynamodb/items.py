"""Serve PutItem, UpdateItem, DeleteItem, GetItem, Query, Scan and PartiQL under limits, locks and lag.

Every operation takes MiniStack's function first and runs on the main loop's thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ministack.services import dynamodb

from kit.local.dynamodb import wire
from kit.local.dynamodb.capacity import EVENTUALLY, Capacity, table_units, touching, touching_by_update
from kit.local.dynamodb.lag import RecentChanges
from kit.local.dynamodb.locks import Locks
from kit.local.dynamodb.tables import Table, Tables
from kit.local.dynamodb.units import READ_UNIT_BYTES, Item, item_bytes, item_read_units, read_units
from kit.local.dynamodb.wire import Answer, Throttle

Request = dict[str, Any]
Call = Callable[[Request], Answer]

# A page of Query or Scan reads at most 1 MiB.
PAGE_BYTES_MAX = 1024 * 1024
_PARTIQL_TABLE = re.compile(r"""\b(?:FROM|INTO|UPDATE)\s+"?([A-Za-z0-9_.-]+)""", re.IGNORECASE)
_CONDITION_FAILED = "ConditionalCheckFailedException"


def read_with_lag(lagging: Sequence[tuple[Table, RecentChanges]], now_s: float, call: Call, request: Request) -> Answer:
    """Answer a read from the items of these tables as they were when their lag began."""
    past = [(table, changes.lagging_items(table.record["items"], now_s)) for table, changes in lagging]
    changed = [(table, items) for table, items in past if items is not table.record["items"]]
    # The call is synchronous and runs on the main loop's thread only, so no other call sees the old items.
    for table, items in changed:
        record = {**table.record, "items": items}
        record.pop(dynamodb._INDEX_MEMBERS, None)
        dynamodb._tables[table.name] = record
    try:
        return call(request)
    finally:
        for table, _ in changed:
            dynamodb._tables[table.name] = table.record


class ItemGate:
    """Admit requests for one item or one page of items, and pay for them."""

    def __init__(self, tables: Tables, capacity: Capacity, locks: Locks, clock: Callable[[], float]) -> None:
        self._tables = tables
        self._capacity = capacity
        self._locks = locks
        self._clock = clock
        self._page_bytes = 0

    # Writes

    def put(self, call: Call, request: Request) -> Answer:
        return self._write(call, request, "PutItem", request.get("Item"))

    def update(self, call: Call, request: Request) -> Answer:
        return self._write(call, request, "UpdateItem", request.get("Key"))

    def delete(self, call: Call, request: Request) -> Answer:
        return self._write(call, request, "DeleteItem", request.get("Key"))

    def _write(self, call: Call, request: Request, operation: str, addressed: Any) -> Answer:
        table = self._tables.find(request.get("TableName"))
        if table is None:
            return call(request)
        if self._locks or table.is_limited:
            refused = self._refusal(table, request, operation, addressed)
            if refused is not None:
                return refused
        writes_before = self._capacity.writes
        answer = call(request)
        if self._capacity.writes == writes_before:
            self._pay_without_effect(table, addressed, answer)
        return answer

    def _refusal(self, table: Table, request: Request, operation: str, addressed: Any) -> Answer | None:
        key = table.key(addressed)
        if self._locks.holds(key):
            table.meter.conflicts += 1
            return wire.conflict()
        old = table.item(key)
        if operation == "UpdateItem":
            touches = touching_by_update(old, request)
        else:
            touches = touching(old, addressed if operation == "PutItem" and is_item(addressed) else None)
        return self._throttled(table, operation, self._capacity.write_throttle(table, touches))

    def _pay_without_effect(self, table: Table, addressed: Any, answer: Answer) -> None:
        """Charge a failed condition, and a delete of an item that does not exist, by the size of the present item."""
        if answer[0] == 200 or wire.code_of(answer) == _CONDITION_FAILED:
            self._capacity.pay_units(table, table_units(table.item(table.key(addressed)), None))

    def _throttled(self, table: Table, operation: str, throttle: Throttle | None) -> Answer | None:
        if throttle is None:
            return None
        table.meter.requests[operation] += 1
        return throttle.answer()

    def written(self, table_name: str, old: Item | None, new: Item | None, *, is_replicated: bool) -> None:
        """Pay for a write that was applied, and record the old item for lagging reads."""
        table = self._tables.find(table_name)
        if table is None:
            return
        if not is_replicated:
            self._capacity.pay_write(table, old, new)
        for changes in (table.index_changes, table.read_changes):
            if changes is not None and (key := table.key(new or old)) is not None:
                changes.remember(self._clock(), key[1], key[2], old)

    # Reads

    def get(self, call: Call, request: Request) -> Answer:
        table = self._tables.find(request.get("TableName"))
        if table is None:
            return call(request)
        if table.is_limited:
            refused = self._throttled(table, "GetItem", self._capacity.read_throttle(table))
            if refused is not None:
                return refused
        answer = self._read_with_lag(table, None, call, request)
        if answer[0] == 200:
            self._capacity.pay_read(table, self._get_units(table, request, answer) * consistency(request))
        return answer

    def _get_units(self, table: Table, request: Request, answer: Answer) -> float:
        # The response is longer than the item in it, unless it shows a part of the item.
        is_whole = not request.get("ProjectionExpression") and not request.get("AttributesToGet")
        if is_whole and len(answer[2]) <= READ_UNIT_BYTES:
            return 1.0
        return item_read_units(table.item(table.key(request.get("Key"))))

    def query(self, call: Call, request: Request) -> Answer:
        return self._read_page(call, request, "Query")

    def scan(self, call: Call, request: Request) -> Answer:
        return self._read_page(call, request, "Scan")

    def _read_page(self, call: Call, request: Request, operation: str) -> Answer:
        table = self._tables.find(request.get("TableName"))
        if table is None:
            return call(request)
        index = request.get("IndexName")
        if table.is_limited:
            refused = self._throttled(table, operation, self._capacity.read_throttle(table, index))
            if refused is not None:
                return refused
        self._page_bytes = 0
        answer = self._read_with_lag(table, index, call, request)
        if answer[0] == 200:
            self._capacity.pay_read(table, read_units(self._page_bytes) * consistency(request), index)
        return answer

    def _read_with_lag(self, table: Table, index: Any, call: Call, request: Request) -> Answer:
        """Answer a read of a lagging index, or an eventually consistent one, from the items as they were."""
        is_eventual = request.get("ConsistentRead") is not True
        changes = table.index_changes if index in table.indexes else table.read_changes if is_eventual else None
        if changes is None:
            return call(request)
        return read_with_lag([(table, changes)], self._clock(), call, request)

    def page(self, items: list[Item], limit: Any, record: dict[str, Any], index: str | None = None) -> Any:
        """Replace MiniStack's `_paginate_evaluated_items`, and note how many bytes were read."""
        page, total, item_limit, more = [], 0, None if limit is None else int(limit), False
        for item in items:
            size = item_bytes(dynamodb._apply_index_projection(item, record, index) if index else item)
            if page and total + size > PAGE_BYTES_MAX:
                more = True
                break
            page.append(item)
            total += size
            if len(page) == item_limit or total >= PAGE_BYTES_MAX:
                more = True
                break
        self._page_bytes = total
        return page, more

    def consumed(self, call: Callable[..., None], result: Request, request: Request, *args: Any, **more: Any) -> None:
        """Correct MiniStack's `_add_consumed_capacity`, which counts every read as 4 KB."""
        if request.get("ReturnConsumedCapacity", "NONE") == "NONE":
            return
        call(result, request, *args, **more)
        if more.get("write"):
            return
        if "Count" in result:
            blocks = read_units(self._page_bytes)
        else:
            table = self._tables.find(request.get("TableName"))
            blocks = item_read_units(table.item(table.key(request.get("Key")))) if table else 1.0
        _scale(result["ConsumedCapacity"], blocks)

    # PartiQL

    def statements(self, call: Call, request: Request) -> Answer:
        """Refuse PartiQL on a table with limited capacity: it is not metered, so it would never be throttled."""
        statements = request.get("Statements") or request.get("TransactStatements") or [request]
        for each in statements if isinstance(statements, list) else ():
            text = str(each.get("Statement", "")) if isinstance(each, dict) else ""
            for name in _PARTIQL_TABLE.findall(text):
                table = self._tables.find(name)
                if table is not None and table.is_limited:
                    message = f"the local AWS does not meter PartiQL, and table {name} has limited capacity"
                    return wire.error("UnsupportedOperation", message)
        return call(request)


def consistency(request: Request) -> float:
    """Return the cost of a read as a share of a strongly consistent one."""
    return 1.0 if request.get("ConsistentRead") else EVENTUALLY


def is_item(value: Any) -> bool:
    """Whether a value has the shape of an item. MiniStack refuses any other value."""
    return isinstance(value, dict) and all(isinstance(each, dict) for each in value.values())


def _scale(capacity: Any, factor: float) -> None:
    for name, value in capacity.items():
        if isinstance(value, dict):
            _scale(value, factor)
        elif name.endswith("CapacityUnits"):
            capacity[name] = value * factor
