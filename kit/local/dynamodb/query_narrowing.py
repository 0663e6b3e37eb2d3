"""DynamoDB Query in time that grows with what it finds, not with what the table holds.

MiniStack evaluates the key condition of a Query on every item of the partition, some 6 µs each; a ledger that is
polled would slow the whole cloud down as it grows. A Query on a numeric sort key of the base table is first narrowed
to the items whose key lies above the bound, and MiniStack answers it from those. It must not change any answer: a
condition that is not understood here is left to MiniStack as it is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from types import ModuleType
from typing import Any

# `pk = :value AND sk > :value`, the shape of "what comes after"; names may be #placeholders.
AFTER = re.compile(r"\s*(#?\w+)\s*=\s*(:\w+)\s+AND\s+(#?\w+)\s*(>=|>)\s*(:\w+)\s*", re.IGNORECASE)


def narrowed_query(dynamodb: ModuleType) -> Callable[[dict[str, Any]], Any]:
    """`dynamodb._query` over no more of a partition than the Query can return."""
    query = dynamodb._query

    @functools.wraps(query)
    def answer(data: dict[str, Any]) -> Any:
        name = dynamodb._normalize_table_name(data.get("TableName"))
        table = dynamodb._tables.get(name)
        partition = _narrow(table, data) if table else None
        if partition is None:
            return query(data)
        # The handler is synchronous and only the loop's thread runs it, so nobody sees the narrowed table.
        dynamodb._tables[name] = {**table, "items": partition}
        try:
            return query(data)
        finally:
            dynamodb._tables[name] = table

    return answer


def _narrow(table: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """The one partition, holding only items above the bound; None where that cannot be told."""
    found = AFTER.fullmatch(data.get("KeyConditionExpression") or "")
    if found is None or data.get("IndexName") or not _is_numeric(table):
        return None
    names, values = data.get("ExpressionAttributeNames") or {}, data.get("ExpressionAttributeValues") or {}
    keys = [names.get(word, word) for word in (found[1], found[3])]
    if keys != [table["pk_name"], table["sk_name"]]:
        return None
    partition_key, bound = values.get(found[2], {}), values.get(found[5], {})
    if len(partition_key) != 1 or "N" not in bound:
        return None
    bucket = table["items"].get(next(iter(partition_key.values())))
    return None if not bucket else _above(next(iter(partition_key.values())), bucket, bound["N"], found[4])


def _above(pk: str, bucket: Mapping[str, Any], bound: str, operator: str) -> dict[str, dict[str, Any]] | None:
    try:
        limit = int(bound)
        kept = {sk: item for sk, item in bucket.items() if int(sk) >= limit}
    except (ValueError, TypeError):
        return _above_decimal(pk, bucket, bound)
    if operator == ">":
        kept.pop(str(limit), None)
    return {pk: kept}


def _above_decimal(pk: str, bucket: Mapping[str, Any], bound: str) -> dict[str, dict[str, Any]] | None:
    """Keys that are no whole numbers; the bound itself stays, MiniStack's own comparison decides on it."""
    try:
        limit = Decimal(bound)
        return {pk: {sk: item for sk, item in bucket.items() if Decimal(sk) >= limit}}
    except (InvalidOperation, TypeError):
        return None


def _is_numeric(table: Mapping[str, Any]) -> bool:
    kinds = {item["AttributeName"]: item["AttributeType"] for item in table.get("AttributeDefinitions", [])}
    return bool(table.get("sk_name")) and kinds.get(table["sk_name"]) == "N"
