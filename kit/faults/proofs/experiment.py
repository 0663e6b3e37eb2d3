"""Prove an experiment: the effect of each action, and which stop condition ended it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from kit.aws.client_errors import ClientSource, cloud_errors
from kit.errors import CloudError
from kit.faults.experiments import Experiment, refresh
from kit.faults.proofs.effect_checks import EFFECT_CHECKS
from kit.faults.proofs.proof_context import Action, Meters, Proof, ProofContext, Samples, all_or_none, unproven
from kit.faults.proofs.windows import SKEW_S
from kit.fis_rules.catalog import HARMLESS
from kit.model import Deployment, FaultWindow

TARGET_FIELDS = ("name", "type", "arn", "id", "zone", "service")


def prove(
    session: ClientSource,
    deployment: Deployment,
    experiment: Experiment,
    samples: Samples | None = None,
    *,
    meters: Meters | None = None,
    attempts: pd.DataFrame | None = None,
    evidence: Mapping[str, str] | None = None,
) -> FaultWindow:
    """Return the experiment with its proof; `observed_at` is set only if every action's effect was seen.

    `healed_at` is when the last effect was seen to be gone. Each action carries the times and the words of its own
    proof. Inputs that are not given (samples, meters, the clients' attempts) prove nothing. `evidence` maps the names
    of actions that may do anything to their evidence sources.
    """
    experiment = refresh(session, experiment)
    context = ProofContext(
        session=session, deployment=deployment, experiment=experiment,
        samples=samples, meters=meters, attempts=attempts, evidence=evidence or {},
    )  # fmt: skip
    proofs = {action["name"]: proof_of(context, action) for action in experiment.actions}
    acting = [proofs[action["name"]] for action in experiment.actions if action["action_id"] not in HARMLESS]
    starts = [action["start"] for action in experiment.actions if action["start"] is not None]
    return FaultWindow(
        experiment_id=experiment.id,
        template=experiment.template_id,
        status=experiment.status,
        reason=experiment.reason,
        stopped_by=_stopped_by(session, experiment),
        actions=tuple(_with_proof(action, proofs[action["name"]]) for action in experiment.actions),
        targets=tuple({key: target[key] for key in TARGET_FIELDS} for target in experiment.targets),
        injected_at=min(starts, default=experiment.started_at),
        ended_at=experiment.ended_at,
        observed_at=all_or_none([proof.observed_at for proof in acting], min),
        healed_at=all_or_none([proof.healed_at for proof in acting], max),
    )


def proof_of(context: ProofContext, action: Action) -> Proof:
    """Prove one action; evidence that cannot be read leaves it unproven."""
    if action["action_id"] in HARMLESS:
        return unproven("has no effect to prove")
    check = EFFECT_CHECKS.get(action["action_id"])
    if check is None:
        return unproven(f"there is no proof for {action['action_id']}")
    if action["start"] is None:
        return unproven(f"never started ({action['status']})")
    try:
        return check(context, action)
    except CloudError as error:
        return unproven(f"its evidence could not be read: {error}")


def _stopped_by(session: ClientSource, experiment: Experiment) -> str:
    """Return the alarm that ended it: the one that FIS names, else one that was in ALARM during the experiment."""
    if experiment.status != "stopped" or not experiment.alarms:
        return ""
    names = {arn.rsplit(":alarm:", 1)[-1]: arn for arn in experiment.alarms}
    for name, arn in names.items():
        if arn in experiment.reason or name in experiment.reason:
            return name
    try:
        with cloud_errors(f"stop conditions of {experiment.id}"):
            return next((name for name in names if _alarmed(session, name, experiment)), "")
    except CloudError:
        return ""


def _alarmed(session: ClientSource, name: str, experiment: Experiment) -> bool:
    items = session.client("cloudwatch").describe_alarm_history(AlarmName=name, HistoryItemType="StateUpdate")
    start, end = (experiment.started_at or 0.0) - SKEW_S, (experiment.ended_at or float("inf")) + SKEW_S
    return any(
        "to ALARM" in item["HistorySummary"] and start <= item["Timestamp"].timestamp() <= end
        for item in items["AlarmHistoryItems"]
    )


def _with_proof(action: Action, proof: Proof) -> dict[str, Any]:
    return {**action, "observed_at": proof.observed_at, "healed_at": proof.healed_at, "proof": proof.detail}
