"""DynamoDB under pressure: the part of the local cloud that the others talk to.

Owns the order in which MiniStack's functions are taken over, the clock of the metrics, and the pauses of replication.
Must not know how any of it works.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kit.local.dynamodb.metrics import PERIOD_S

_TRANSACT_WRITE = ".TransactWriteItems"

log = logging.getLogger(__name__)


class DynamoDb:
    """Capacity, transactions in conflict, lagging indexes and replicas."""

    def __init__(self, seed: int, *, period_s: float = PERIOD_S, clock: Callable[[], float] = time.monotonic) -> None:
        # Here and not above: MiniStack reads its environment when it is imported.
        from kit.local.dynamodb.batches import BatchGate
        from kit.local.dynamodb.capacity import Capacity
        from kit.local.dynamodb.cloudformation import Provisioning
        from kit.local.dynamodb.items import ItemGate
        from kit.local.dynamodb.locks import Locks
        from kit.local.dynamodb.metrics import Metrics
        from kit.local.dynamodb.ministack import Hooks
        from kit.local.dynamodb.operations import Control
        from kit.local.dynamodb.replication import Replication
        from kit.local.dynamodb.tables import Tables
        from kit.local.dynamodb.transactions import TransactionGate

        self._period_s = period_s
        self._metrics = Metrics()
        self._tables = Tables(self._metrics, clock)
        capacity, locks = Capacity(clock), Locks()
        self._items = ItemGate(self._tables, capacity, locks, clock)
        self._batches = BatchGate(self._tables, capacity, locks)
        self._transactions = TransactionGate(self._tables, capacity, locks, _on_main_loop)
        self._replication = Replication(seed, self._replicated)
        self._control = Control(self._tables, self._replication)
        self._provisioning = Provisioning(self._tables)
        self._hooks = Hooks()
        self._publishing: asyncio.Task[None] | None = None

    async def start(self, cloud: object = None) -> None:
        """Take MiniStack's functions over and begin to publish."""
        self._replication.start()
        self._install()
        self._publishing = asyncio.create_task(self._publish_each_period(), name="dynamodb-metrics")

    async def stop(self) -> None:
        """Give them back."""
        if self._publishing is not None:
            self._publishing.cancel()
            with suppress(asyncio.CancelledError):
                await self._publishing
        self._replication.stop()
        self._hooks.restore()

    def pause_replication(self, table_arn: str, owner: str) -> None:
        """Cut this replica of a global table off, both ways; raises NotReplicated for any other table."""
        self._replication.pause(table_arn, owner)

    def resume_replication(self, table_arn: str, owner: str) -> None:
        """Let it catch up, once every owner of a pause resumed. Safe to repeat."""
        self._replication.resume(table_arn, owner)

    def _install(self) -> None:
        from ministack.services import dynamodb

        hooks, items = self._hooks, self._items
        for name, gate in (
            ("_put_item", items.put), ("_update_item", items.update), ("_delete_item", items.delete),
            ("_get_item", items.get), ("_query", items.query), ("_scan", items.scan),
            ("_batch_write_item", self._batches.write), ("_batch_get_item", self._batches.get),
            ("_transact_get_items", self._transactions.get), ("_execute_statement", items.statements),
            ("_batch_execute_statement", items.statements), ("_execute_transaction", items.statements),
        ):  # fmt: skip
            hooks.wrap(dynamodb, name, gate, _on_main_loop)
        hooks.wrap(dynamodb, "handle_request", self._handle)
        hooks.wrap(dynamodb, "_emit_stream_event", self._emit)
        hooks.wrap(dynamodb, "_add_consumed_capacity", items.consumed)
        hooks.replace(dynamodb, "_paginate_evaluated_items", items.page)
        hooks.replace(dynamodb, "_replicate_write", self._replication.send)
        self._control.install(hooks)
        self._provisioning.install(hooks)

    async def _handle(
        self, handle: Any, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Any:
        from ministack.services import dynamodb

        if not headers.get("x-amz-target", "").endswith(_TRANSACT_WRITE):
            return await handle(method, path, headers, body, query)
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            return await handle(method, path, headers, body, query)
        status, answered, text = await self._transactions.write(dynamodb._transact_write_items, request)
        return status, {**answered, "x-amz-crc32": str(zlib.crc32(text))}, text

    def _emit(self, emit: Any, name: str, event: str, old: Any, new: Any, replicate: bool = True) -> None:
        self._items.written(name, old, new, is_replicated=not replicate)
        emit(name, event, old, new, replicate)

    def _replicated(self, account: str, source: str, name: str, target: str, latency_s: float) -> None:
        self._metrics.meter((account, source, name, None)).replicated(target, latency_s)

    async def _publish_each_period(self) -> None:
        while True:
            now = time.time()
            ends_at = (now // self._period_s + 1) * self._period_s
            await asyncio.sleep(ends_at - now)
            try:
                self._metrics.publish(ends_at - self._period_s)
                # Tags and limits that were changed behind our hooks are seen now.
                self._tables.refresh()
            except Exception:  # the boundary: one period that cannot be told must not silence all others
                log.exception("DynamoDB metrics not published")


def _on_main_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """MiniStack's stores belong to the loop's thread; Step Functions and others call from their own."""
    from ministack import app

    from kit.local.ministack import on_loop

    return on_loop(lambda: app._MAIN_LOOP, function)
