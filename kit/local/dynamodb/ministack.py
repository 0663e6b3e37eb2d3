"""Patch MiniStack's DynamoDB: the functions that serve its API, and how expressions are parsed."""

from __future__ import annotations

import functools
import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ministack.services import dynamodb

from kit.local.dynamodb.batches import BatchGate
from kit.local.dynamodb.items import ItemGate
from kit.local.dynamodb.operations import TableOperations
from kit.local.dynamodb.query_narrowing import narrowed_query
from kit.local.dynamodb.replication import Replication
from kit.local.dynamodb.transactions import TransactionGate
from kit.local.dynamodb.unusual_answers import LOST, UnusualAnswers
from kit.local.dynamodb.update_expression import syntax_error
from kit.local.dynamodb.wire import Answer
from kit.local.main_loop import on_main_loop
from kit.local.patching import Patches

# Programs repeat a small number of expressions.
EXPRESSIONS_REMEMBERED_MAX = 4096
OPERATION = "TransactWriteItems"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """The functions that run before and after MiniStack's, for each operation."""

    items: ItemGate
    batches: BatchGate
    transactions: TransactionGate
    table_operations: TableOperations
    replication: Replication
    unusual: UnusualAnswers

    def install(self, patches: Patches) -> None:
        """Patch MiniStack's DynamoDB."""
        _install_expressions(patches)
        items, batches, tables = self.items, self.batches, self.table_operations
        for name, operation, gate in (
            ("_put_item", "PutItem", items.put), ("_update_item", "UpdateItem", items.update),
            ("_delete_item", "DeleteItem", items.delete), ("_get_item", "GetItem", items.get),
            ("_query", "Query", items.query), ("_scan", "Scan", items.scan),
            ("_batch_write_item", "BatchWriteItem", batches.write), ("_batch_get_item", "BatchGetItem", batches.get),
            ("_transact_get_items", "TransactGetItems", self.transactions.get),
        ):  # fmt: skip
            patches.wrap(dynamodb, name, self.unusual.around(operation, gate))
            patches.decorate(dynamodb, name, on_main_loop)
        for name in ("_execute_statement", "_batch_execute_statement", "_execute_transaction"):
            patches.wrap(dynamodb, name, items.statements)
            patches.decorate(dynamodb, name, on_main_loop)
        for name, operation in (
            ("_create_table", tables.create_table), ("_update_table", tables.update_table),
            ("_tag_resource", tables.tag), ("_untag_resource", tables.untag),
            ("_apply_replica_updates", tables.update_replicas),
        ):  # fmt: skip
            patches.wrap(dynamodb, name, operation)
        patches.wrap(dynamodb, "handle_request", self._handle)
        patches.wrap(dynamodb, "_emit_stream_event", self._emit)
        patches.wrap(dynamodb, "_add_consumed_capacity", items.consumed)
        patches.replace(dynamodb, "_paginate_evaluated_items", items.page)
        patches.replace(dynamodb, "_replicate_write", self.replication.send)
        patches.wrap(dynamodb, "_txn_token_store", _store_token)
        patches.wrap(dynamodb, "drop_stream_records", _forget_tokens)

    async def _handle(
        self, handle: Any, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Any:
        if not headers.get("x-amz-target", "").endswith(f".{OPERATION}"):
            return await handle(method, path, headers, body, query)
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            return await handle(method, path, headers, body, query)
        status, answered, text = await self._transact(request)
        return status, {**answered, "x-amz-crc32": str(zlib.crc32(text))}, text

    async def _transact(self, request: dict[str, Any]) -> Answer:
        drawn, table = self.unusual.draw(OPERATION, request)
        if table is not None and drawn and drawn != LOST:
            return self.unusual.refusal(drawn, OPERATION, request, table)
        answer = await self.transactions.write(dynamodb._transact_write_items, request)
        return self.unusual.lost(OPERATION, table) if table is not None and drawn == LOST else answer

    def _emit(self, emit: Any, name: str, event: str, old: Any, new: Any, replicate: bool = True) -> None:
        self.items.written(name, old, new, is_replicated=not replicate)
        emit(name, event, old, new, replicate)


class RequestDigest:
    """Stands for a transaction's request, which is compared with the next request of the same token.

    A request is kept for ten minutes, as AWS does. As a whole, the requests of a run would take 20 MB.
    """

    __slots__ = ("_digest",)

    def __init__(self, request: Any) -> None:
        self._digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).digest()

    def __eq__(self, other: object) -> bool:
        return self._digest == (other if isinstance(other, RequestDigest) else RequestDigest(other))._digest

    __hash__ = None  # type: ignore[assignment]  # it equals dicts, which have no hash


def _store_token(store: Callable[..., None], token: str, entry: dict[str, Any]) -> None:
    store(token, {**entry, "signature": RequestDigest(entry["signature"])})


def _forget_tokens(drop: Callable[..., None], name: str, *arguments: Any) -> None:
    """Drop the tokens of transactions on a table that is gone. A repetition would fail, for want of the table."""
    drop(name, *arguments)
    if name in dynamodb._tables:
        return
    for token, entry in dynamodb._txn_idempotency.items():
        if name in entry["sizes"]:
            dynamodb._txn_idempotency.pop(token, None)


def _install_expressions(patches: Patches) -> None:
    patches.decorate(dynamodb, "_query", narrowed_query)
    # These are pure functions of an expression's text, and cost a fifth of a transaction's time.
    patches.decorate(dynamodb, "_tokenize", _remembered_tokens)
    patches.decorate(dynamodb, "_condition_syntax_error", functools.lru_cache(maxsize=EXPRESSIONS_REMEMBERED_MAX))
    patches.wrap(dynamodb, "_apply_update_expression", _apply_update)


def _remembered_tokens(tokenize: Callable[[str], list[Any]]) -> Callable[[str], list[Any]]:
    """Parse each expression once; every caller gets a list of its own, because callers consume it."""
    remembered = functools.lru_cache(maxsize=EXPRESSIONS_REMEMBERED_MAX)(lambda text: tuple(tokenize(text)))
    return lambda text: list(remembered(text))


def _apply_update(apply: Callable[..., Any], item: Any, expression: str, *args: Any, **kwargs: Any) -> Any:
    if message := syntax_error(expression):
        # The callers turn a ValueError into ValidationException, or into a cancellation reason.
        raise ValueError(f"Invalid UpdateExpression: {message}")
    return apply(item, expression, *args, **kwargs)
