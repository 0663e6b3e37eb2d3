"""Effect checks of network faults: choose the evidence by what the fault cuts or slows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kit.aws.client_errors import cloud_errors
from kit.faults.proofs import balancer, clients, paperbroker_metrics, task_stops
from kit.faults.proofs.paperbroker_metrics import Slowness
from kit.faults.proofs.proof_context import Action, Proof, ProofContext, every, first_of, unproven

# Defaults of AWS FIS.
DELAY_MS = 200
LOSS_PCT = 7
ALL_PCT = 100
EVERYONE = frozenset({"ALL", "0.0.0.0/0"})
# The earliest retransmission of a lost packet (the minimum retransmission time-out of Linux).
RETRANSMIT_MS = 200.0
HTTPS = "443"
# Actions that may replace tasks.
REPLACING = frozenset({"aws:ecs:stop-task", "aws:ssm:start-automation-execution"})
# Names of services in `sources` and in the names of VPC endpoints.
STORE, QUEUE, TELEMETRY = frozenset({"dynamodb", "ddb"}), frozenset({"sqs", "queue"}), frozenset({"monitoring"})
AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


def prove_latency(context: ProofContext, action: Action) -> Proof:
    """Check that the targets' own DynamoDB or SQS calls took longer by the delay, and their neighbours' did not.

    After the action they must be as fast as before.
    """
    delay_ms = _number(action, "delayMilliseconds", DELAY_MS)
    share = _number(action, "flowsPercent", ALL_PCT) / ALL_PCT
    return _prove_slow(context, action, added_ms=delay_ms, share=share)


def prove_loss(context: ProofContext, action: Action) -> Proof:
    """Check that the targets' calls waited for retransmissions, in the share that is lost.

    If everything is lost, they must have failed.
    """
    share = _number(action, "lossPercent", LOSS_PCT) * _number(action, "flowsPercent", ALL_PCT) / ALL_PCT**2
    if share < 1:
        return _prove_slow(context, action, added_ms=RETRANSMIT_MS, share=share)
    return _prove_cut_off(context, action, _sources(action))


def prove_blackhole(context: ProofContext, action: Action) -> Proof:
    """Check that clients or targets missed the traffic to the blackholed port.

    Ingress: the load balancer saw fewer healthy targets, or requests got no answer. Egress: the targets published
    nothing, or their calls failed.
    """
    if _parameter(action, "trafficType", "") == "ingress":
        return first_of(
            lambda: balancer.prove_fewer(context, action),
            lambda: clients.prove_failed_clients(context, action),
            lambda: task_stops.prove_unreachable(context, action),
        )
    port = _parameter(action, "port", "")
    if port != HTTPS:
        return unproven(f"egress port {port}: PaperBroker makes outgoing calls only to AWS, on port {HTTPS}")
    return first_of(
        lambda: paperbroker_metrics.prove_silent(context, action),
        lambda: paperbroker_metrics.prove_failed(context, action, paperbroker_metrics.STORE_ERRORS),
        lambda: paperbroker_metrics.prove_failed(context, action, paperbroker_metrics.QUEUE_ERRORS),
    )


def prove_connectivity(context: ProofContext, action: Action) -> Proof:
    """Check that the chosen subnets lost the traffic that the scope cuts.

    `all`: the subnets lost all healthy targets. `vpc`: their tasks published nothing. `dynamodb`: their DynamoDB calls
    failed.
    """
    scope = _parameter(action, "scope", "all")
    check = SCOPES.get(scope)
    if check is None:
        return unproven(f"scope {scope}: PaperBroker makes no calls that this scope cuts")
    return check(context, action)


def prove_endpoint(context: ProofContext, action: Action) -> Proof:
    """Check that calls of the endpoint's service (DynamoDB, SQS) failed in all components.

    Without the CloudWatch endpoint, the components published nothing.
    """
    ids = [target["id"] for target in context.chosen(action)]
    if not ids:
        return unproven("no VPC endpoint was chosen")
    with cloud_errors(f"VPC endpoints {', '.join(ids)}"):
        found = context.session.client("ec2").describe_vpc_endpoints(VpcEndpointIds=ids)["VpcEndpoints"]
    names = sorted({each["ServiceName"].rpartition(".")[2] for each in found})
    return every(_prove_service_lost(context, action, name) for name in names)


def _prove_service_lost(context: ProofContext, action: Action, service: str) -> Proof:
    if service in STORE:
        return paperbroker_metrics.prove_failed_in(
            context, action, paperbroker_metrics.STORE_ERRORS, paperbroker_metrics.EVERYWHERE
        )
    if service in QUEUE:
        return paperbroker_metrics.prove_failed_in(
            context, action, paperbroker_metrics.QUEUE_ERRORS, paperbroker_metrics.EVERYWHERE
        )
    if service in TELEMETRY:
        return paperbroker_metrics.prove_silent_in(context, action, paperbroker_metrics.EVERYWHERE)
    return unproven(f"endpoint of {service}: PaperBroker publishes no metric of its calls there")


def _prove_slow(context: ProofContext, action: Action, *, added_ms: float, share: float) -> Proof:
    """Check every dependency that `sources` names; if it names none, check the clients."""
    metrics = _dependencies(_sources(action))
    if not metrics:
        return clients.prove_slow_clients(context, action, added_ms=added_ms, expected=clients.ZONE_EXPECTED * share)
    slow = [Slowness(metric=metric, added_ms=added_ms, expected=share) for metric in metrics]
    until = _replaced_at(context, action)
    return every(paperbroker_metrics.prove_slow(context, action, each, until=until) for each in slow)


def _replaced_at(context: ProofContext, action: Action) -> float | None:
    """Return when targets began to be replaced during the action, by tasks that it does not hit."""
    if not any(each["action_id"] in REPLACING for each in context.experiment.actions):
        return None
    stopping_at = task_stops.first_stopping(context, action)
    return min(stopping_at, action["end"]) if stopping_at is not None and action["end"] is not None else None


def _prove_cut_off(context: ProofContext, action: Action, sources: frozenset[str]) -> Proof:
    """Check that no call succeeds. Tasks that cannot reach CloudWatch either are recognised by their silence."""
    if sources & EVERYONE or any(_service(source) in TELEMETRY for source in sources):
        return paperbroker_metrics.prove_silent(context, action)
    errors = [paperbroker_metrics.ERRORS_OF[metric] for metric in _dependencies(sources)]
    if errors:
        return every(paperbroker_metrics.prove_failed(context, action, metric) for metric in errors)
    return _prove_out_of_reach(context, action)


def _dependencies(sources: frozenset[str]) -> list[str]:
    """Return the latency metrics of the dependencies that `sources` means: DynamoDB, SQS."""
    if sources & EVERYONE:
        return [paperbroker_metrics.STORE_MS]
    services = {_service(source) for source in sources}
    return [
        metric
        for names, metric in ((STORE, paperbroker_metrics.STORE_MS), (QUEUE, paperbroker_metrics.QUEUE_MS))
        if services & names
    ]


def _service(source: str) -> str:
    """Return the service that `DYNAMODB` or `sqs.us-east-1.amazonaws.com` means; a zone or a network means itself."""
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


def _prove_out_of_reach(context: ProofContext, action: Action) -> Proof:
    """Check that other zones cannot reach the targets: health checks fail, or clients' requests do."""
    return first_of(
        lambda: balancer.prove_fewer(context, action), lambda: clients.prove_failed_clients(context, action)
    )


def _number(action: Action, name: str, default: int) -> float:
    return float(_parameter(action, name, str(default)))


def _parameter(action: Action, name: str, default: str) -> str:
    parameters: Mapping[str, Any] = action.get("parameters") or {}
    return str(parameters.get(name) or default)


SCOPES: Mapping[str, Callable[[ProofContext, Action], Proof]] = {
    "all": balancer.prove_cut,
    "vpc": lambda context, action: paperbroker_metrics.prove_silent(context, action),
    "dynamodb": lambda context, action: paperbroker_metrics.prove_failed(
        context, action, paperbroker_metrics.STORE_ERRORS
    ),
    "availability-zone": _prove_out_of_reach,
    "prefix-list": _prove_out_of_reach,
}
