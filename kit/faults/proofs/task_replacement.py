"""Tasks that a deployment replaced: what ECS says of when each task of a service ran, and TaskWatch of the services."""

from __future__ import annotations

from kit.faults import tasks
from kit.faults.proofs.proof_context import Action, Proof, Scene, healed_words, unproven
from kit.faults.proofs.task_stops import complete_again


def prove_replaced(scene: Scene, action: Action, output: str) -> Proof:
    """Every task of the service that ran when the action began was stopped by its service, and as many came.

    `output`: the stack's output that names the service. A task that ended by itself was replaced, too, but by no
    deployment. Healed when every service is complete again and none of the old tasks is left.
    """
    service, start = scene.deployment.outputs[output], action["start"]
    known = tasks.lives(scene.session, scene.deployment, service)
    old = [life for life in known if _ran_at(life, start)]
    gone = [stop for life in old if (stop := life.stop) is not None and stop.code in tasks.SCHEDULER_CODES]
    left = [stop.stopped_at for stop in gone if stop.stopped_at is not None]
    new = [life for life in known if life.started_at is not None and life.started_at >= start]
    told = f"ECS: {len(left)} of {len(old)} {service} tasks were stopped by their service, {len(new)} others started"
    if not old or len(left) < len(old) or len(new) < len(old):
        return unproven(told)
    healed_at = complete_again(scene, max(left))
    return Proof(
        observed_at=min(stop.stopping_at or stop.stopped_at or start for stop in gone),
        healed_at=healed_at,
        detail=told + healed_words(healed_at, "complete again"),
    )


def _ran_at(life: tasks.TaskLife, moment: float) -> bool:
    leaving = life.stop.stopping_at if life.stop is not None else None
    return life.started_at is not None and life.started_at < moment and (leaving is None or leaving >= moment)
