"""Tasks that ended: what ECS says of each chosen task, and TaskWatch of the services around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from kit.aws.client_errors import cloud_errors
from kit.faults import tasks
from kit.faults.proofs.proof_context import TASK, Action, Proof, Scene, healed_words, unproven
from kit.faults.proofs.windows import SKEW_S

# How ECS words them.
CONTAINER_EXITED = "EssentialContainerExited"
FAILED_CHECKS = "failed ELB health checks"
SERVICE_OUTPUTS = ("ApiServiceName", "MatcherServiceName", "RelayServiceName")


def prove_stopped(scene: Scene, action: Action) -> Proof:
    """ECS says that every chosen task stopped after the action began; healed when every service is complete again."""
    return prove_ended(scene, action, "stopped", lambda stop: True)


def prove_exited(scene: Scene, action: Action) -> Proof:
    """As `prove_stopped`, by the exit of its own container: a task that was only told to stop proves no kill."""
    return prove_ended(scene, action, "exited", lambda stop: stop.code == CONTAINER_EXITED)


def prove_left(scene: Scene, action: Action) -> Proof:
    """As `prove_exited`, or because it failed the load balancer's checks: what is told to end says so, and serves on
    until it is believed.
    """
    return prove_ended(
        scene, action, "left", lambda stop: stop.code == CONTAINER_EXITED or FAILED_CHECKS in stop.reason
    )


def prove_unreachable(scene: Scene, action: Action) -> Proof:
    """As `prove_stopped`, because the load balancer could no longer reach it: the cut lasted until ECS acted."""
    return prove_ended(scene, action, f"stopped for {FAILED_CHECKS}", lambda stop: FAILED_CHECKS in stop.reason)


def prove_ended(scene: Scene, action: Action, how: str, is_evidence: Callable[[tasks.TaskStop], bool]) -> Proof:
    """Every chosen task ended as `is_evidence` wants it."""
    chosen = scene.chosen(action)
    stops = tasks.describe(scene.session, scene.deployment, [target["arn"] for target in chosen])
    seen = [stop for stop in stops.values() if stop is not None and is_evidence(stop)]
    # ECS has forgotten a task only long after it stopped; but then nothing says when.
    times = [stop.stopped_at for stop in seen if stop.stopped_at is not None]
    if not chosen or len(times) < len(chosen):
        return unproven(f"{len(times)} of {len(chosen)} chosen tasks are seen {how}")
    if min(times) < action["start"] - SKEW_S:
        return unproven(f"a chosen task had stopped {action['start'] - min(times):.1f} s before the action began")
    healed_at = complete_again(scene, max(times))
    return Proof(
        observed_at=min(times),
        healed_at=healed_at,
        detail=f"ECS: {len(times)} of {len(chosen)} chosen tasks {how}" + healed_words(healed_at, "replaced"),
    )


def first_leaving(scene: Scene, action: Action) -> float | None:
    """When the first of the chosen tasks began to leave while the action lasted; None if none did."""
    chosen = [target["arn"] for target in scene.chosen(action) if target["type"] == TASK]
    stops = tasks.describe(scene.session, scene.deployment, chosen) if chosen else {}
    times = [stop.stopping_at for stop in stops.values() if stop is not None and stop.stopping_at is not None]
    return min((t for t in times if t >= action["start"]), default=None)


def complete_again(scene: Scene, after: float) -> float | None:
    """The first sample after a time in which every service runs as many tasks as it should."""
    if scene.samples is None:
        return None
    running: dict[float, Counter[str]] = {}
    for row in scene.samples.tasks().to_dict("records"):
        running.setdefault(row["t"], Counter())[row["service"]] += row["running"]
    wanted = _desired(scene)
    complete = (t for t, counts in running.items() if t > after and counts >= wanted)
    return min(complete, default=None)


def _desired(scene: Scene) -> Counter[str]:
    outputs = scene.deployment.outputs
    with cloud_errors(f"services of {scene.deployment.stack_name}"):
        answer = scene.session.client("ecs").describe_services(
            cluster=outputs["ClusterName"], services=[outputs[key] for key in SERVICE_OUTPUTS]
        )
    return Counter({service["serviceName"]: service["desiredCount"] for service in answer["services"]})
