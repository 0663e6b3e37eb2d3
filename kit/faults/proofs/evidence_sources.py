"""The evidence sources that a scenario may name for an action that may do anything, such as an automation."""

from __future__ import annotations

from collections.abc import Mapping

from kit.faults.proofs import clients, paperbroker_metrics
from kit.faults.proofs.dynamodb import prove_throttled
from kit.faults.proofs.paperbroker_metrics import Slowness
from kit.faults.proofs.proof_context import Action, EffectCheck, Proof, ProofContext
from kit.faults.proofs.task_replacement import prove_replaced


def _store_latency(context: ProofContext, action: Action) -> Proof:
    """Check that PaperBroker's DynamoDB calls were slow while the action was in force, and fast after it."""
    return paperbroker_metrics.prove_slow_somewhere(context, action, Slowness(metric=paperbroker_metrics.STORE_MS))


def _queue_latency(context: ProofContext, action: Action) -> Proof:
    """Check that PaperBroker's SQS calls were slow while the action was in force, and fast after it."""
    return paperbroker_metrics.prove_slow_somewhere(context, action, Slowness(metric=paperbroker_metrics.QUEUE_MS))


def _store_errors(context: ProofContext, action: Action) -> Proof:
    """Check that PaperBroker's DynamoDB calls failed while the action was in force, and not after it."""
    return paperbroker_metrics.prove_counted(context, action, paperbroker_metrics.STORE_ERRORS, "failed store calls")


def _queue_errors(context: ProofContext, action: Action) -> Proof:
    """Check that PaperBroker's SQS calls failed while the action was in force, and not after it."""
    return paperbroker_metrics.prove_counted(context, action, paperbroker_metrics.QUEUE_ERRORS, "failed queue calls")


def _silence(context: ProofContext, action: Action) -> Proof:
    """Check that the targeted tasks sent no heartbeat while the action was in force, and sent them again after it."""
    return paperbroker_metrics.prove_silent(context, action)


def _shed(context: ProofContext, action: Action) -> Proof:
    """Check that the API turned requests away while the action was in force, and not after it."""
    return paperbroker_metrics.prove_counted(context, action, paperbroker_metrics.SHED, "requests shed")


def _client_latency(context: ProofContext, action: Action) -> Proof:
    """Check that clients waited longer for answers to their orders while the action was in force, and not after it."""
    return clients.prove_slow_clients(context, action)


def _api_replaced(context: ProofContext, action: Action) -> Proof:
    """Check in ECS that the service replaced every API task that ran when the action began."""
    return prove_replaced(context, action, "ApiServiceName")


EVIDENCE_SOURCES: Mapping[str, EffectCheck] = {
    "api-replaced": _api_replaced,
    "client-latency": _client_latency,
    "store-latency": _store_latency,
    "store-errors": _store_errors,
    "store-throttled": prove_throttled,
    "queue-latency": _queue_latency,
    "queue-errors": _queue_errors,
    "silence": _silence,
    "shed": _shed,
}
