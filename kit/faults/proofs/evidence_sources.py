"""The evidence sources that a scenario may name for an action that may do anything, such as an automation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from kit.faults.proofs import clients
from kit.faults.proofs import paperbroker_metrics as metrics
from kit.faults.proofs.dynamodb import prove_throttled
from kit.faults.proofs.proof_context import EffectCheck
from kit.faults.proofs.task_replacement import prove_replaced

# What each sees while the action is in force, and no longer after it.
EVIDENCE_SOURCES: Mapping[str, EffectCheck] = {
    # The service replaced every API task that ran when the action began.
    "api-replaced": partial(prove_replaced, output="ApiServiceName"),
    # Clients wait longer for answers to their orders.
    "client-latency": clients.prove_slow_clients,
    # PaperBroker's calls to DynamoDB or SQS are slow, fail or are throttled.
    "store-latency": partial(metrics.prove_slow_somewhere, slowness=metrics.Slowness(metric=metrics.STORE_MS)),
    "store-errors": partial(metrics.prove_counted, metric=metrics.STORE_ERRORS, words="failed store calls"),
    "store-throttled": prove_throttled,
    "queue-latency": partial(metrics.prove_slow_somewhere, slowness=metrics.Slowness(metric=metrics.QUEUE_MS)),
    "queue-errors": partial(metrics.prove_counted, metric=metrics.QUEUE_ERRORS, words="failed queue calls"),
    # The targeted tasks send no heartbeat.
    "silence": metrics.prove_silent,
    # The API turns requests away.
    "shed": partial(metrics.prove_counted, metric=metrics.SHED, words="requests shed"),
}
