"""Check that tasks ended: ECS says how each target ended, TaskWatch when the services were complete again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from kit.aws.client_errors import cloud_errors
from kit.faults import tasks
from kit.faults.proofs.proof_context import TASK, Action, Proof, ProofContext, healed_words, unproven
from kit.faults.proofs.windows import SKEW_S

# ECS's own code and words.
CONTAINER_EXITED = "EssentialContainerExited"
FAILED_CHECKS = "failed ELB health checks"
SERVICE_OUTPUTS = ("ApiServiceName", "MatcherServiceName", "RelayServiceName")


def prove_stopped(context: ProofContext, action: Action) -> Proof:
    """Check in ECS that every chosen task stopped after the action began, and that every service is complete again."""
    return prove_ended(context, action, "stopped", lambda stop: True)


def prove_exited(context: ProofContext, action: Action) -> Proof:
    """Check as `prove_stopped` does, but count only containers that exited by themselves.

    A task that ECS was asked to stop does not prove that its processes were killed.
    """
    return prove_ended(context, action, "exited", lambda stop: stop.code == CONTAINER_EXITED)


def prove_left(context: ProofContext, action: Action) -> Proof:
    """Check as `prove_exited` does, and count failed load balancer checks too.

    A task that gets SIGTERM fails its health checks and serves until the load balancer has noticed.
    """
    return prove_ended(
        context, action, "left", lambda stop: stop.code == CONTAINER_EXITED or FAILED_CHECKS in stop.reason
    )


def prove_unreachable(context: ProofContext, action: Action) -> Proof:
    """Check as `prove_stopped` does, for tasks that the load balancer could not reach until ECS replaced them."""
    return prove_ended(context, action, f"stopped for {FAILED_CHECKS}", lambda stop: FAILED_CHECKS in stop.reason)


def prove_ended(
    context: ProofContext, action: Action, how: str, is_evidence: Callable[[tasks.TaskStop], bool]
) -> Proof:
    """Check that every chosen task ended as `is_evidence` demands."""
    chosen = context.chosen(action)
    stops = tasks.describe(context.session, context.deployment, [target["arn"] for target in chosen])
    seen = [stop for stop in stops.values() if stop is not None and is_evidence(stop)]
    # A task that ECS no longer lists has stopped, but nothing says when.
    times = [stop.stopped_at for stop in seen if stop.stopped_at is not None]
    if not chosen or len(times) < len(chosen):
        return unproven(f"{len(times)} of {len(chosen)} chosen tasks are seen {how}")
    if min(times) < action["start"] - SKEW_S:
        return unproven(f"a chosen task had stopped {action['start'] - min(times):.1f} s before the action began")
    healed_at = complete_again(context, max(times))
    return Proof(
        observed_at=min(times),
        healed_at=healed_at,
        detail=f"ECS: {len(times)} of {len(chosen)} chosen tasks {how}" + healed_words(healed_at, "replaced"),
    )


def first_stopping(context: ProofContext, action: Action) -> float | None:
    """Return when the first chosen task began to stop during the action; None if none did."""
    chosen = [target["arn"] for target in context.chosen(action) if target["type"] == TASK]
    stops = tasks.describe(context.session, context.deployment, chosen) if chosen else {}
    times = [stop.stopping_at for stop in stops.values() if stop is not None and stop.stopping_at is not None]
    return min((t for t in times if t >= action["start"]), default=None)


def complete_again(context: ProofContext, after: float) -> float | None:
    """Return the first sample after a time in which every service runs its desired number of tasks."""
    if context.samples is None:
        return None
    running: dict[float, Counter[str]] = {}
    for row in context.samples.tasks().to_dict("records"):
        running.setdefault(row["t"], Counter())[row["service"]] += row["running"]
    wanted = _desired(context)
    complete = (t for t, counts in running.items() if t > after and counts >= wanted)
    return min(complete, default=None)


def _desired(context: ProofContext) -> Counter[str]:
    outputs = context.deployment.outputs
    with cloud_errors(f"services of {context.deployment.stack_name}"):
        answer = context.session.client("ecs").describe_services(
            cluster=outputs["ClusterName"], services=[outputs[key] for key in SERVICE_OUTPUTS]
        )
    return Counter({service["serviceName"]: service["desiredCount"] for service in answer["services"]})
