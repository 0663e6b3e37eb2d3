"""Provers of network faults: which witness can know of one follows from what it cuts or slows.

Owns that choice; the witnesses themselves are in paperbroker_metrics.py, clients.py, balancer.py and task_stops.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kit.aws.client_errors import cloud_errors
from kit.faults.proofs import balancer, clients, paperbroker_metrics, task_stops
from kit.faults.proofs.paperbroker_metrics import Slowness
from kit.faults.proofs.proof_context import Action, Proof, Scene, every, first_of, unproven

# Defaults of AWS FIS.
DELAY_MS = 200
LOSS_PCT = 7
ALL_PCT = 100
EVERYONE = frozenset({"ALL", "0.0.0.0/0"})
# A lost packet is sent again after this long at the earliest (Linux's least retransmission time-out).
RETRANSMIT_MS = 200.0
HTTPS = "443"
# Actions that may replace tasks.
REPLACING = frozenset({"aws:ecs:stop-task", "aws:ssm:start-automation-execution"})
# What may stand for a service in `sources` and in the name of a VPC endpoint.
STORE, QUEUE, TELEMETRY = frozenset({"dynamodb", "ddb"}), frozenset({"sqs", "queue"}), frozenset({"monitoring"})
AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


def prove_latency(scene: Scene, action: Action) -> Proof:
    """The targets' own DynamoDB or SQS calls took longer by the delay, their neighbours' did not; back after."""
    delay_ms = _number(action, "delayMilliseconds", DELAY_MS)
    share = _number(action, "flowsPercent", ALL_PCT) / ALL_PCT
    return _prove_slow(scene, action, added_ms=delay_ms, share=share)


def prove_loss(scene: Scene, action: Action) -> Proof:
    """The targets' calls waited for retransmissions in the share that is lost; if all is lost, they failed."""
    share = _number(action, "lossPercent", LOSS_PCT) * _number(action, "flowsPercent", ALL_PCT) / ALL_PCT**2
    if share < 1:
        return _prove_slow(scene, action, added_ms=RETRANSMIT_MS, share=share)
    return _prove_cut_off(scene, action, _sources(action))


def prove_blackhole(scene: Scene, action: Action) -> Proof:
    """Inwards: fewer healthy targets, or requests without an answer. Outwards: the targets fell silent or failed."""
    if _parameter(action, "trafficType", "") == "ingress":
        return first_of(
            lambda: balancer.prove_fewer(scene, action),
            lambda: clients.prove_failed_clients(scene, action),
            lambda: task_stops.prove_unreachable(scene, action),
        )
    port = _parameter(action, "port", "")
    if port != HTTPS:
        return unproven(f"egress port {port}: PaperBroker calls AWS, by port {HTTPS}, and nothing else")
    return first_of(
        lambda: paperbroker_metrics.prove_silent(scene, action),
        lambda: paperbroker_metrics.prove_failed(scene, action, paperbroker_metrics.STORE_ERRORS),
        lambda: paperbroker_metrics.prove_failed(scene, action, paperbroker_metrics.QUEUE_ERRORS),
    )


def prove_connectivity(scene: Scene, action: Action) -> Proof:
    """By scope. all: the subnets lost all healthy targets; vpc: fell silent; dynamodb: their store calls failed."""
    scope = _parameter(action, "scope", "all")
    prover = SCOPES.get(scope)
    return prover(scene, action) if prover else unproven(f"scope {scope}: PaperBroker calls nothing that it cuts")


def prove_endpoint(scene: Scene, action: Action) -> Proof:
    """Calls of the endpoint's service failed in all components: DynamoDB's, SQS's; CloudWatch's leave silence."""
    ids = [target["id"] for target in scene.chosen(action)]
    if not ids:
        return unproven("no VPC endpoint was chosen")
    with cloud_errors(f"VPC endpoints {', '.join(ids)}"):
        found = scene.session.client("ec2").describe_vpc_endpoints(VpcEndpointIds=ids)["VpcEndpoints"]
    names = sorted({each["ServiceName"].rpartition(".")[2] for each in found})
    return every(_prove_service_lost(scene, action, name) for name in names)


def _prove_service_lost(scene: Scene, action: Action, service: str) -> Proof:
    if service in STORE:
        return paperbroker_metrics.prove_failed_in(
            scene, action, paperbroker_metrics.STORE_ERRORS, paperbroker_metrics.EVERYWHERE
        )
    if service in QUEUE:
        return paperbroker_metrics.prove_failed_in(
            scene, action, paperbroker_metrics.QUEUE_ERRORS, paperbroker_metrics.EVERYWHERE
        )
    if service in TELEMETRY:
        return paperbroker_metrics.prove_silent_in(scene, action, paperbroker_metrics.EVERYWHERE)
    return unproven(f"endpoint of {service}: PaperBroker does not tell of its calls there")


def _prove_slow(scene: Scene, action: Action, *, added_ms: float, share: float) -> Proof:
    """At every dependency that `sources` names; with neither among them, at the clients."""
    metrics = _dependencies(_sources(action))
    if not metrics:
        return clients.prove_slow_clients(scene, action, added_ms=added_ms, expected=clients.ZONE_EXPECTED * share)
    slow = [Slowness(metric=metric, added_ms=added_ms, expected=share) for metric in metrics]
    until = _left_early(scene, action)
    return every(paperbroker_metrics.prove_slow(scene, action, each, until=until) for each in slow)


def _left_early(scene: Scene, action: Action) -> float | None:
    """When targets began to be replaced under the action: by tasks that are no targets, and whose calls are quick."""
    if not any(each["action_id"] in REPLACING for each in scene.experiment.actions):
        return None
    leaving = task_stops.first_leaving(scene, action)
    return min(leaving, action["end"]) if leaving is not None and action["end"] is not None else None


def _prove_cut_off(scene: Scene, action: Action, sources: frozenset[str]) -> Proof:
    """Nothing arrives there any more. Who is cut from CloudWatch too cannot tell, and its silence does."""
    if sources & EVERYONE or any(_service(source) in TELEMETRY for source in sources):
        return paperbroker_metrics.prove_silent(scene, action)
    errors = [paperbroker_metrics.ERRORS_OF[metric] for metric in _dependencies(sources)]
    if errors:
        return every(paperbroker_metrics.prove_failed(scene, action, metric) for metric in errors)
    return _prove_out_of_reach(scene, action)


def _dependencies(sources: frozenset[str]) -> list[str]:
    """The timed metrics of the dependencies that `sources` means: the store's, the queue's."""
    if sources & EVERYONE:
        return [paperbroker_metrics.STORE_MS]
    services = {_service(source) for source in sources}
    return [
        metric
        for names, metric in ((STORE, paperbroker_metrics.STORE_MS), (QUEUE, paperbroker_metrics.QUEUE_MS))
        if services & names
    ]


def _service(source: str) -> str:
    """`DYNAMODB` and `sqs.us-east-1.amazonaws.com` as the service's first label; a zone or a network is itself."""
    name = source.lower()
    for end in AWS_DOMAINS:
        if name.endswith(end):
            labels = name.removesuffix(end).split(".")
            known = STORE | QUEUE | TELEMETRY
            return next((label for label in labels if label in known), labels[0])
    return name


def _sources(action: Action) -> frozenset[str]:
    text = _parameter(action, "sources", "ALL")
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _prove_out_of_reach(scene: Scene, action: Action) -> Proof:
    """From the other zones: for the load balancer's checks, or for the requests that it sends across."""
    return first_of(lambda: balancer.prove_fewer(scene, action), lambda: clients.prove_failed_clients(scene, action))


def _number(action: Action, name: str, default: int) -> float:
    return float(_parameter(action, name, str(default)))


def _parameter(action: Action, name: str, default: str) -> str:
    parameters: Mapping[str, Any] = action.get("parameters") or {}
    return str(parameters.get(name) or default)


SCOPES: Mapping[str, Callable[[Scene, Action], Proof]] = {
    "all": balancer.prove_cut,
    "vpc": lambda scene, action: paperbroker_metrics.prove_silent(scene, action),
    "dynamodb": lambda scene, action: paperbroker_metrics.prove_failed(scene, action, paperbroker_metrics.STORE_ERRORS),
    "availability-zone": _prove_out_of_reach,
    "prefix-list": _prove_out_of_reach,
}
