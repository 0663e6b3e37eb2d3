"""The witnesses that a scenario may name for an action that may do anything: one word each, one rule each."""

from __future__ import annotations

from collections.abc import Mapping

from kit.faults.proofs import clients, paperbroker_metrics
from kit.faults.proofs.dynamodb import prove_throttled
from kit.faults.proofs.paperbroker_metrics import Slowness
from kit.faults.proofs.proof_context import Action, Proof, Prover, Scene
from kit.faults.proofs.task_replacement import prove_replaced


def _store_latency(scene: Scene, action: Action) -> Proof:
    """PaperBroker's DynamoDB calls became slow while the action was in force, and are quick again."""
    return paperbroker_metrics.prove_slow_somewhere(scene, action, Slowness(metric=paperbroker_metrics.STORE_MS))


def _queue_latency(scene: Scene, action: Action) -> Proof:
    """PaperBroker's SQS calls became slow while the action was in force, and are quick again."""
    return paperbroker_metrics.prove_slow_somewhere(scene, action, Slowness(metric=paperbroker_metrics.QUEUE_MS))


def _store_errors(scene: Scene, action: Action) -> Proof:
    """PaperBroker's DynamoDB calls failed while the action was in force, and no more after."""
    return paperbroker_metrics.prove_counted(scene, action, paperbroker_metrics.STORE_ERRORS, "failed store calls")


def _queue_errors(scene: Scene, action: Action) -> Proof:
    """PaperBroker's SQS calls failed while the action was in force, and no more after."""
    return paperbroker_metrics.prove_counted(scene, action, paperbroker_metrics.QUEUE_ERRORS, "failed queue calls")


def _silence(scene: Scene, action: Action) -> Proof:
    """The targeted tasks sent no heartbeat while the action was in force, and send them again."""
    return paperbroker_metrics.prove_silent(scene, action)


def _shed(scene: Scene, action: Action) -> Proof:
    """The API turned requests away while the action was in force, and no more after."""
    return paperbroker_metrics.prove_counted(scene, action, paperbroker_metrics.SHED, "requests shed")


def _client_latency(scene: Scene, action: Action) -> Proof:
    """Clients waited longer for their orders' answers while the action was in force, and no more after."""
    return clients.prove_slow_clients(scene, action)


def _api_replaced(scene: Scene, action: Action) -> Proof:
    """ECS says that every API task that ran when the action began was stopped by its service, and others came."""
    return prove_replaced(scene, action, "ApiServiceName")


WITNESSES: Mapping[str, Prover] = {
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
