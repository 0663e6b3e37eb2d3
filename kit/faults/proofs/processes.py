"""Provers of what is done to the processes of tasks: killed, frozen, thawed, starved."""

from __future__ import annotations

from kit.faults.proofs import paperbroker_metrics, task_stops
from kit.faults.proofs.paperbroker_metrics import Slowness
from kit.faults.proofs.proof_context import Action, Proof, Scene, unproven
from kit.faults.proofs.windows import SKEW_S

KILL = "aws:ecs:task-kill-process"
FREEZING = frozenset({"SIGSTOP", "SIGTSTP", "STOP", "TSTP"})
THAWING = frozenset({"SIGCONT", "CONT"})
# A process cannot do anything about it.
KILLING = frozenset({"SIGKILL", "KILL"})
# A starved task's calls wait for the next turn of their processor, some tens of milliseconds away.
STARVED_ADDED_MS = 40.0
STARVED_EXPECTED = 0.5


def prove_signalled(scene: Scene, action: Action) -> Proof:
    """Ended: ECS says why it stopped. Stopped (SIGSTOP): its heartbeats ended, until SIGCONT or the end."""
    signal = _signal(action)
    if signal in FREEZING:
        return paperbroker_metrics.prove_silent(scene, action, until=_thawed_at(scene, action))
    if signal in THAWING:
        return _prove_thawed(scene, action)
    return task_stops.prove_exited(scene, action) if signal in KILLING else task_stops.prove_left(scene, action)


def prove_starved(scene: Scene, action: Action) -> Proof:
    """The targets' own DynamoDB calls became slow, those of their neighbours did not; quick again after."""
    slowness = Slowness(metric=paperbroker_metrics.STORE_MS, added_ms=STARVED_ADDED_MS, expected=STARVED_EXPECTED)
    return paperbroker_metrics.prove_slow(scene, action, slowness)


def _prove_thawed(scene: Scene, action: Action) -> Proof:
    """The tasks had been silent since they were frozen, and spoke again."""
    frozen = [each for each in _signals(scene, action, FREEZING) if each["start"] <= action["start"]]
    if not frozen:
        return unproven("nothing was frozen before it")
    silence = paperbroker_metrics.prove_silent(
        scene, max(frozen, key=lambda each: each["start"]), until=action["start"]
    )
    if silence.observed_at is None or silence.healed_at is None:
        return unproven(f"no end of a silence: {silence.detail}")
    return Proof(
        observed_at=silence.healed_at, healed_at=silence.healed_at, detail=f"end of a silence: {silence.detail}"
    )


def _thawed_at(scene: Scene, action: Action) -> float | None:
    """When the frozen tasks were continued: by a later action on them, else by the end of the experiment."""
    starts = [each["start"] for each in _signals(scene, action, THAWING) if each["start"] >= action["start"] - SKEW_S]
    return min(starts, default=scene.experiment.ended_at)


def _signals(scene: Scene, action: Action, signals: frozenset[str]) -> list[Action]:
    """The actions that sent one of the signals to the same targets."""
    return [
        each
        for each in scene.experiment.actions
        if each["action_id"] == KILL
        and each["start"] is not None
        and _signal(each) in signals
        and set(each["targets"]) & set(action["targets"])
    ]


def _signal(action: Action) -> str:
    return str((action.get("parameters") or {}).get("signal") or "SIGTERM")
