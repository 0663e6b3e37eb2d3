"""Check that a deployment replaced tasks: ECS says when each task ran, TaskWatch when the service was complete."""

from __future__ import annotations

from kit.faults import tasks
from kit.faults.proofs.proof_context import Action, Proof, ProofContext, healed_words, unproven
from kit.faults.proofs.task_stops import complete_again


def prove_replaced(context: ProofContext, action: Action, output: str) -> Proof:
    """Check that ECS stopped every task of the service that ran when the action began, and started as many.

    `output` is the stack's output that names the service. A task that ended by itself proves no deployment. The fault
    is healed when every service is complete again and no old task is left.
    """
    service, start = context.deployment.outputs[output], action["start"]
    known = tasks.lives(context.session, context.deployment, service)
    old = [life for life in known if _ran_at(life, start)]
    gone = [stop for life in old if (stop := life.stop) is not None and stop.code in tasks.SCHEDULER_CODES]
    left = [stop.stopped_at for stop in gone if stop.stopped_at is not None]
    new = [life for life in known if life.started_at is not None and life.started_at >= start]
    detail = f"ECS: {len(left)} of {len(old)} {service} tasks were stopped by their service, {len(new)} others started"
    if not old or len(left) < len(old) or len(new) < len(old):
        return unproven(detail)
    healed_at = complete_again(context, max(left))
    return Proof(
        observed_at=min(stop.stopping_at or stop.stopped_at or start for stop in gone),
        healed_at=healed_at,
        detail=detail + healed_words(healed_at, "complete again"),
    )


def _ran_at(life: tasks.TaskLife, at: float) -> bool:
    stopping_at = life.stop.stopping_at if life.stop is not None else None
    return life.started_at is not None and life.started_at < at and (stopping_at is None or stopping_at >= at)
