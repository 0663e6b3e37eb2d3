"""Make DynamoDB's Query take time in proportion to what it finds.

MiniStack evaluates the key condition of a Query on every item of the partition, about 6 µs each, so polling a growing
ledger would slow the whole local AWS down. A Query on a numeric sort key of the base table is narrowed to the items
whose key lies above the bound, and MiniStack answers it from those. Other conditions go to MiniStack unchanged, so no
answer changes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ministack.services import dynamodb as ministack_dynamodb

# MiniStack's annotations are narrower than what its functions take.
dynamodb: Any = ministack_dynamodb
# `pk = :value AND sk > :value`; names may be #placeholders.
AFTER = re.compile(r"\s*(#?\w+)\s*=\s*(:\w+)\s+AND\s+(#?\w+)\s*(>=|>)\s*(:\w+)\s*", re.IGNORECASE)


def narrowed_query(query: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Decorate `dynamodb._query` to look only at the part of the partition that the Query can return."""

    @functools.wraps(query)
    def answer(data: dict[str, Any]) -> Any:
        name = dynamodb._normalize_table_name(data.get("TableName"))
        table = dynamodb._tables.get(name)
        partition = _narrow(table, data) if table else None
        if partition is None:
            return query(data)
        # The query is synchronous and runs on the loop's thread only, so no other call sees the narrowed table.
        dynamodb._tables[name] = {**table, "items": partition}
        try:
            return query(data)
        finally:
            dynamodb._tables[name] = table

    return answer


def _narrow(table: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """Return the one partition with only the items above the bound; None for a query of another shape."""
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
    """Compare keys that are not whole numbers. The bound itself stays in: MiniStack compares it."""
    try:
        limit = Decimal(bound)
        return {pk: {sk: item for sk, item in bucket.items() if Decimal(sk) >= limit}}
    except (InvalidOperation, TypeError):
        return None


def _is_numeric(table: Mapping[str, Any]) -> bool:
    kinds = {item["AttributeName"]: item["AttributeType"] for item in table.get("AttributeDefinitions", [])}
    return bool(table.get("sk_name")) and kinds.get(table["sk_name"]) == "N"
