"""Evidence, from elsewhere than FIS, that each action had its effect and that the effect went away.

One proof by action id; an action that has none leaves the fault unproven, and the run INVALID: FIS saying
"completed" proves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from kit.aws.boundary import ClientSource, cloud_errors
from kit.errors import CloudError
from kit.faults import tasks
from kit.faults.experiments import Experiment, refresh
from kit.model import Deployment, FaultWindow

# Clocks and FIS's own bookkeeping may disagree by this much with what ECS records.
SKEW_S = 2.0
# The load balancer needs two failed checks, 5 s apart, each up to 2 s, to see that a target is gone.
DETECTION_S = 12.0
# Of a short cut, at least this share of its time must be seen dead.
DETECTION_SHARE_MAX = 0.6
# A subnet counts as alive before the cut if it was seen alive in this time: one sample may be late.
BEFORE_S = 10.0
# Below this many samples after the detection time a cut is not proven.
SAMPLES_MIN = 3
# How ECS words them.
CONTAINER_EXITED = "EssentialContainerExited"
FAILED_CHECKS = "failed ELB health checks"
HARMLESS = frozenset({"aws:fis:wait", "aws:cloudwatch:assert-alarm-state"})
SERVICE_OUTPUTS = ("ApiServiceName", "MatcherServiceName", "RelayServiceName")


class Samples(Protocol):
    """What was sampled from before the fault until after it."""

    def tasks(self) -> pd.DataFrame:
        """Columns t, zone, service, running."""
        ...

    def targets(self) -> pd.DataFrame:
        """Columns t, subnet, zone, state, count, with a row for `healthy` in every sample of a subnet."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """When the effect of one action was first seen and when it was seen gone; None = never."""

    observed_at: float | None
    healed_at: float | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What every proof may look at."""

    session: ClientSource
    deployment: Deployment
    experiment: Experiment
    samples: Samples | None


def prove(
    session: ClientSource, deployment: Deployment, experiment: Experiment, samples: Samples | None = None
) -> FaultWindow:
    """The experiment as it went, with `observed_at` set only if every action's effect was seen.

    `healed_at` is when the last effect was seen gone. Each action carries its own proof's times and words.
    """
    experiment = refresh(session, experiment)
    scene = Scene(session=session, deployment=deployment, experiment=experiment, samples=samples)
    proofs = {action["name"]: _proof_of(scene, action) for action in experiment.actions}
    acting = [proofs[action["name"]] for action in experiment.actions if action["action_id"] not in HARMLESS]
    starts = [action["start"] for action in experiment.actions if action["start"] is not None]
    return FaultWindow(
        experiment_id=experiment.id,
        template=experiment.template_id,
        status=experiment.status,
        reason=experiment.reason,
        stopped_by=_stopped_by(session, experiment),
        actions=tuple(_with_proof(action, proofs[action["name"]]) for action in experiment.actions),
        targets=tuple(
            {key: target[key] for key in ("name", "type", "arn", "id", "zone", "service")}
            for target in experiment.targets
        ),
        injected_at=min(starts, default=experiment.started_at),
        ended_at=experiment.ended_at,
        observed_at=_all_or_none([proof.observed_at for proof in acting], min),
        healed_at=_all_or_none([proof.healed_at for proof in acting], max),
    )


def _proof_of(scene: Scene, action: Mapping[str, Any]) -> Proof:
    if action["action_id"] in HARMLESS:
        return Proof(observed_at=None, healed_at=None, detail="has no effect to prove")
    prover = PROVERS.get(action["action_id"])
    if prover is None:
        return _unproven(f"there is no proof for {action['action_id']}")
    if action["start"] is None:
        return _unproven(f"never started ({action['status']})")
    return prover(scene, action)


def _prove_stopped(scene: Scene, action: Mapping[str, Any]) -> Proof:
    """Every chosen task stopped after the action began, as ECS says; healed when every service is complete again."""
    return _prove_ended(scene, action, "stopped", lambda stop: True)


def _prove_killed(scene: Scene, action: Mapping[str, Any]) -> Proof:
    """As `_prove_stopped`, by the exit of its own container: a task that was only told to stop proves no kill.

    A killed process whose task lives on leaves nothing that ECS could see, and so no proof.
    """
    return _prove_ended(scene, action, "exited", lambda stop: stop.code == CONTAINER_EXITED)


def _prove_unreachable(scene: Scene, action: Mapping[str, Any]) -> Proof:
    """As `_prove_stopped`, because the load balancer could no longer reach it: the cut lasted until ECS acted."""
    return _prove_ended(scene, action, f"stopped for {FAILED_CHECKS}", lambda stop: FAILED_CHECKS in stop.reason)


def _prove_ended(
    scene: Scene, action: Mapping[str, Any], how: str, is_evidence: Callable[[tasks.TaskStop], bool]
) -> Proof:
    chosen = _chosen(scene, action)
    stops = tasks.describe(scene.session, scene.deployment, [target["arn"] for target in chosen])
    seen = [stop for stop in stops.values() if stop is not None and is_evidence(stop)]
    # ECS has forgotten a task only long after it stopped; but then nothing says when.
    times = [stop.stopped_at for stop in seen if stop.stopped_at is not None]
    if not chosen or len(times) < len(chosen):
        return _unproven(f"{len(times)} of {len(chosen)} chosen tasks are seen {how}")
    if min(times) < action["start"] - SKEW_S:
        return _unproven(f"a chosen task had stopped {action['start'] - min(times):.1f} s before the action began")
    observed_at = min(times)
    healed_at = _complete_again(scene, max(times))
    return Proof(
        observed_at=observed_at,
        healed_at=healed_at,
        detail=f"ECS: {len(times)} of {len(chosen)} chosen tasks {how}" + _healed_words(healed_at, "replaced"),
    )


def _complete_again(scene: Scene, after: float) -> float | None:
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


def _prove_cut(scene: Scene, action: Mapping[str, Any]) -> Proof:
    """Each chosen subnet had healthy targets before, none once the load balancer could know, and has them again.

    Tasks that are only stopped are replaced and healthy again within the detection time, so that a cut that does
    nothing is told from a real one even when both happen together.
    """
    chosen = _chosen(scene, action)
    if scene.samples is None or not chosen:
        return _unproven("no samples of the load balancer's targets" if chosen else "no subnet was chosen")
    proofs = [_prove_subnet(scene.samples.targets(), target["id"], action) for target in chosen]
    return Proof(
        observed_at=_all_or_none([proof.observed_at for proof in proofs], min),
        healed_at=_all_or_none([proof.healed_at for proof in proofs], max),
        detail="; ".join(proof.detail for proof in proofs),
    )


def _prove_subnet(samples: pd.DataFrame, subnet: str, action: Mapping[str, Any]) -> Proof:
    healthy = _healthy(samples, subnet)
    start, end = action["start"], action["end"]
    if end is None:
        return _unproven(f"{subnet}: the cut has not ended")
    before = [count for t, count in healthy if start - BEFORE_S <= t < start]
    known_at = start + min(DETECTION_S, DETECTION_SHARE_MAX * (end - start))
    during = [count for t, count in healthy if known_at <= t <= end]
    if max(before, default=0) == 0:
        return _unproven(f"{subnet}: no healthy target before the cut")
    if len(during) < SAMPLES_MIN:
        return _unproven(f"{subnet}: {len(during)} samples < {SAMPLES_MIN} during the cut")
    if max(during) > 0:
        return _unproven(f"{subnet}: {max(during)} healthy targets in spite of the cut")
    healed_at = min((t for t, count in healthy if t > end and count > 0), default=None)
    return Proof(
        observed_at=min(t for t, count in healthy if t >= start and count == 0),
        healed_at=healed_at,
        detail=f"load balancer: no healthy target in {subnet}" + _healed_words(healed_at, "healthy again"),
    )


def _healthy(samples: pd.DataFrame, subnet: str) -> list[tuple[float, int]]:
    """(t, healthy targets) of one subnet, in order of time."""
    rows = samples.to_dict("records")
    return sorted((row["t"], row["count"]) for row in rows if row["subnet"] == subnet and row["state"] == "healthy")


def _chosen(scene: Scene, action: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [target for target in scene.experiment.targets if target["name"] in action["targets"]]


def _stopped_by(session: ClientSource, experiment: Experiment) -> str:
    """The stop condition that ended it: named in FIS's reason, else the one that is or was just in ALARM."""
    if experiment.status != "stopped" or not experiment.alarms:
        return ""
    names = {arn.rsplit(":alarm:", 1)[-1]: arn for arn in experiment.alarms}
    for name, arn in names.items():
        if arn in experiment.reason or name in experiment.reason:
            return name
    try:
        with cloud_errors(f"stop conditions of {experiment.id}"):
            return next((name for name in names if _rang(session, name, experiment)), "")
    except CloudError:
        return ""


def _rang(session: ClientSource, name: str, experiment: Experiment) -> bool:
    items = session.client("cloudwatch").describe_alarm_history(AlarmName=name, HistoryItemType="StateUpdate")
    start, end = (experiment.started_at or 0.0) - SKEW_S, (experiment.ended_at or float("inf")) + SKEW_S
    return any(
        "to ALARM" in item["HistorySummary"] and start <= item["Timestamp"].timestamp() <= end
        for item in items["AlarmHistoryItems"]
    )


def _with_proof(action: Mapping[str, Any], proof: Proof) -> dict[str, Any]:
    return {**action, "observed_at": proof.observed_at, "healed_at": proof.healed_at, "proof": proof.detail}


def _all_or_none(times: list[float | None], pick: Callable[[list[float]], float]) -> float | None:
    known = [time for time in times if time is not None]
    return pick(known) if known and len(known) == len(times) else None


def _healed_words(healed_at: float | None, word: str) -> str:
    return ", never seen " + word if healed_at is None else f", {word}"


def _unproven(detail: str) -> Proof:
    return Proof(observed_at=None, healed_at=None, detail=detail)


PROVERS: Mapping[str, Callable[[Scene, Mapping[str, Any]], Proof]] = {
    "aws:ecs:stop-task": _prove_stopped,
    "aws:ecs:task-kill-process": _prove_killed,
    "aws:ecs:task-network-blackhole-port": _prove_unreachable,
    "aws:network:disrupt-connectivity": _prove_cut,
}
