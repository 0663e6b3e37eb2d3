"""Serve BatchWriteItem and BatchGetItem: items over a limit or under a lock are returned as unprocessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kit.local.dynamodb.capacity import Capacity, Reserved, touching
from kit.local.dynamodb.items import Call, Request, consistency, is_item, read_with_lag
from kit.local.dynamodb.locks import Locks
from kit.local.dynamodb.tables import Table, Tables
from kit.local.dynamodb.units import item_read_units
from kit.local.dynamodb.wire import Answer, Throttle


class BatchGate:
    """Admit the items of a batch, and pay for those that MiniStack processed."""

    def __init__(self, tables: Tables, capacity: Capacity, locks: Locks, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tables = tables
        self._capacity = capacity
        self._locks = locks

    def write(self, call: Call, request: Request) -> Answer:
        """Serve BatchWriteItem."""
        tables = self._tables_of(request)
        if not self._locks and not any(table.is_limited for table in tables.values()):
            return self._write_all(call, request, tables)
        if not all(_are_writes(request["RequestItems"][name]) for name in tables):
            return call(request)
        admitted: dict[str, list[Any]] = {}
        refused: dict[str, list[Any]] = {}
        throttle, reserved = None, Reserved()
        for name, table in tables.items():
            for each in request["RequestItems"][name]:
                met = self._admit_write(table, each, reserved)
                throttle = met if isinstance(met, Throttle) else throttle
                (admitted if met is None else refused).setdefault(name, []).append(each)
        if not refused:
            return self._write_all(call, request, tables)
        if not admitted:
            return self._refuse_all(tables, "BatchWriteItem", throttle, {"UnprocessedItems": refused})
        answer = self._write_all(call, {**request, "RequestItems": admitted}, tables)
        return _with(answer, UnprocessedItems=refused)

    def _admit_write(self, table: Table, each: Any, reserved: Reserved) -> Throttle | str | None:
        """Return None if the write may run, else its limit, or "conflict", which no response mentions."""
        put = each.get("PutRequest")
        addressed = put["Item"] if put else each["DeleteRequest"]["Key"]
        key = table.key(addressed)
        if self._locks.holds(key):
            table.meter.conflicts += 1
            return "conflict"
        old, new = table.item(key), addressed if put else None
        met = self._capacity.write_throttle(table, touching(old, new), reserved)
        if met is None:
            self._capacity.reserve_write(table, old, new, reserved)
        return met

    def _write_all(self, call: Call, request: Request, tables: dict[str, Table]) -> Answer:
        writes_before = self._capacity.writes
        answer = call(request)
        if answer[0] == 200 and len(tables) == 1:
            # A delete of an item that does not exist writes nothing, but costs a unit.
            ((name, table),) = tables.items()
            for _ in range(len(request["RequestItems"][name]) - (self._capacity.writes - writes_before)):
                self._capacity.pay_units(table, 1.0)
        return answer

    def get(self, call: Call, request: Request) -> Answer:
        """Serve BatchGetItem."""
        tables = self._tables_of(request)
        if not all(_are_keys(request["RequestItems"][name]) for name in tables):
            return call(request)
        if not any(table.is_limited for table in tables.values()):
            answer = self._read(call, request, tables)
            return self._pay_gets(answer, request, tables) if answer[0] == 200 else answer
        admitted: dict[str, Any] = {}
        refused: dict[str, Any] = {}
        throttle, reserved = None, Reserved()
        for name, table in tables.items():
            wanted = request["RequestItems"][name]
            for key in wanted["Keys"]:
                met = self._capacity.read_throttle(table, reserved=reserved)
                throttle = met or throttle
                if met is None:
                    reserved.add(table.read, _units(table, key, wanted))
                part = admitted if met is None else refused
                part.setdefault(name, {**wanted, "Keys": []})["Keys"].append(key)
        if not admitted:
            return self._refuse_all(tables, "BatchGetItem", throttle, {"Responses": {}, "UnprocessedKeys": refused})
        reduced = {**request, "RequestItems": admitted}
        answer = self._read(call, reduced, {name: tables[name] for name in admitted})
        if answer[0] != 200:
            return answer
        answer = self._pay_gets(answer, reduced, {name: tables[name] for name in admitted})
        return _with(answer, UnprocessedKeys=refused) if refused else answer

    def _read(self, call: Call, request: Request, tables: dict[str, Table]) -> Answer:
        lagging = [
            (table, table.read_changes)
            for name, table in tables.items()
            if table.read_changes is not None and request["RequestItems"][name].get("ConsistentRead") is not True
        ]
        return read_with_lag(lagging, self._clock(), call, request)

    def _pay_gets(self, answer: Answer, request: Request, tables: dict[str, Table]) -> Answer:
        consumed = []
        for name, table in tables.items():
            wanted = request["RequestItems"][name]
            units = [_units(table, key, wanted) for key in wanted["Keys"]]
            for each in units:
                self._capacity.pay_read(table, each)
            consumed.append({"TableName": name, "CapacityUnits": sum(units)})
            if request.get("ReturnConsumedCapacity") == "INDEXES":
                consumed[-1]["Table"] = {"CapacityUnits": sum(units)}
        if request.get("ReturnConsumedCapacity", "NONE") == "NONE":
            return answer
        return _with(answer, ConsumedCapacity=consumed)

    def _refuse_all(
        self, tables: dict[str, Table], operation: str, throttle: Throttle | None, nothing: dict[str, Any]
    ) -> Answer:
        """Refuse a batch of which nothing ran. That is an error, unless all items conflicted with transactions."""
        if throttle is None:
            return _with((200, {"Content-Type": "application/x-amz-json-1.0"}, b"{}"), **nothing)
        for table in tables.values():
            if table.arn == throttle.table_arn:
                table.meter.requests[operation] += 1
        return throttle.answer()

    def _tables_of(self, request: Request) -> dict[str, Table]:
        """Return the tables of a batch by their names in the request; empty if MiniStack will refuse the batch."""
        wanted = request.get("RequestItems")
        if not isinstance(wanted, dict):
            return {}
        found = {name: self._tables.find(name) for name in wanted}
        known = {name: table for name, table in found.items() if table is not None}
        return known if len(known) == len(found) else {}


def _are_writes(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) and _is_write(each) for each in value)


def _is_write(each: dict[str, Any]) -> bool:
    put, delete = each.get("PutRequest"), each.get("DeleteRequest")
    part = put.get("Item") if isinstance(put, dict) else delete.get("Key") if isinstance(delete, dict) else None
    return is_item(part)


def _are_keys(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("Keys"), list) and all(map(is_item, value["Keys"]))


def _units(table: Table, key: Any, wanted: dict[str, Any]) -> float:
    return item_read_units(table.item(table.key(key))) * consistency(wanted)


def _with(answer: Answer, **members: Any) -> Answer:
    """Set members of a successful response."""
    status, headers, body = answer
    if status != 200:
        return answer
    return status, headers, json.dumps({**json.loads(body), **members}, ensure_ascii=False).encode()
