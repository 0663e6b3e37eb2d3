"""Compose, start and stop the local DynamoDB."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from kit.local.dynamodb.batches import BatchGate
from kit.local.dynamodb.capacity import Capacity
from kit.local.dynamodb.cloudformation import Provisioning
from kit.local.dynamodb.items import ItemGate
from kit.local.dynamodb.locks import Locks
from kit.local.dynamodb.metrics import PERIOD_S, Metrics
from kit.local.dynamodb.ministack import Gates
from kit.local.dynamodb.operations import TableOperations
from kit.local.dynamodb.replication import Replication
from kit.local.dynamodb.tables import Tables
from kit.local.dynamodb.transactions import TransactionGate
from kit.local.dynamodb.unusual_answers import UnusualAnswers
from kit.local.patching import Patches

log = logging.getLogger(__name__)


class DynamoDb:
    """DynamoDB with limited capacity, conflicts, less usual answers, and reads, indexes and replicas that lag."""

    def __init__(self, seed: int) -> None:
        self._metrics = Metrics()
        self._tables = Tables(self._metrics, time.monotonic)
        capacity, locks = Capacity(time.monotonic), Locks()
        self._replication = Replication(seed, self._replicated)
        self._gates = Gates(
            items=ItemGate(self._tables, capacity, locks, time.monotonic),
            batches=BatchGate(self._tables, capacity, locks, time.monotonic),
            transactions=TransactionGate(self._tables, capacity, locks),
            table_operations=TableOperations(self._tables, self._replication),
            replication=self._replication,
            unusual=UnusualAnswers(self._tables, seed),
        )
        self._provisioning = Provisioning(self._tables)
        self._patches = Patches()
        self._publishing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Patch MiniStack's DynamoDB and begin to publish metrics."""
        self._replication.start()
        self.install()
        self._publishing = asyncio.create_task(self._publish_each_period(), name="dynamodb-metrics")

    async def stop(self) -> None:
        """Stop publishing, and put MiniStack's functions back."""
        if self._publishing is not None:
            self._publishing.cancel()
            with suppress(asyncio.CancelledError):
                await self._publishing
        self._replication.stop()
        self.uninstall()

    def install(self) -> None:
        """Patch MiniStack's DynamoDB and its CloudFormation types for tables."""
        self._gates.install(self._patches)
        self._provisioning.install(self._patches)

    def uninstall(self) -> None:
        """Put MiniStack's functions back."""
        self._patches.undo()

    def pause_replication(self, table_arn: str, owner: str) -> None:
        """Hold this replica's writes in both directions. Raises NotReplicated if the table is not a replica."""
        self._replication.pause(table_arn, owner)

    def resume_replication(self, table_arn: str, owner: str) -> None:
        """Let the replica catch up when no owner pauses it any more. Safe to repeat."""
        self._replication.resume(table_arn, owner)

    def _replicated(self, account: str, source: str, name: str, target: str, latency_s: float) -> None:
        self._metrics.meter((account, source, name, None)).replicated(target, latency_s)

    async def _publish_each_period(self) -> None:
        while True:
            now = time.time()
            ends_at = (now // PERIOD_S + 1) * PERIOD_S
            await asyncio.sleep(ends_at - now)
            try:
                self._metrics.publish(ends_at - PERIOD_S)
                # Read tags and limits again, because calls that we do not patch may have changed them.
                self._tables.refresh()
            except Exception:  # boundary: a failure in one period must not end the publishing of metrics
                log.exception("DynamoDB metrics not published")
