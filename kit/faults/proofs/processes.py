"""Effect checks of faults in the processes of tasks: killed, stopped, continued, starved of CPU."""

from __future__ import annotations

from kit.faults.proofs import paperbroker_metrics, task_stops
from kit.faults.proofs.paperbroker_metrics import Slowness
from kit.faults.proofs.proof_context import Action, Proof, ProofContext, unproven
from kit.faults.proofs.windows import SKEW_S

KILL = "aws:ecs:task-kill-process"
STOPPING = frozenset({"SIGSTOP", "SIGTSTP", "STOP", "TSTP"})
CONTINUING = frozenset({"SIGCONT", "CONT"})
# Signals that a process cannot handle.
KILLING = frozenset({"SIGKILL", "KILL"})
# The calls of a starved task wait some tens of milliseconds for their next CPU slice.
STARVED_ADDED_MS = 40.0
STARVED_EXPECTED = 0.5


def prove_signalled(context: ProofContext, action: Action) -> Proof:
    """Check that the signalled tasks ended, or were suspended and continued.

    A task that ended must have a reason in ECS. A suspended task (SIGSTOP) must send no heartbeats until SIGCONT or the
    end of the action.
    """
    signal = _signal(action)
    if signal in STOPPING:
        return paperbroker_metrics.prove_silent(context, action, until=_continued_at(context, action))
    if signal in CONTINUING:
        return _prove_continued(context, action)
    return task_stops.prove_exited(context, action) if signal in KILLING else task_stops.prove_left(context, action)


def prove_starved(context: ProofContext, action: Action) -> Proof:
    """Check that the targets' own DynamoDB calls were slow during the action and fast after it.

    Their neighbours' calls must not have become slow.
    """
    slowness = Slowness(metric=paperbroker_metrics.STORE_MS, added_ms=STARVED_ADDED_MS, expected=STARVED_EXPECTED)
    return paperbroker_metrics.prove_slow(context, action, slowness)


def _prove_continued(context: ProofContext, action: Action) -> Proof:
    """Check that the tasks were silent while they were stopped, and published again afterwards."""
    stopped = [each for each in _signals(context, action, STOPPING) if each["start"] <= action["start"]]
    if not stopped:
        return unproven("no earlier action stopped its targets")
    silence = paperbroker_metrics.prove_silent(
        context, max(stopped, key=lambda each: each["start"]), until=action["start"]
    )
    if silence.observed_at is None or silence.healed_at is None:
        return unproven(f"no end of a silence: {silence.detail}")
    return Proof(
        observed_at=silence.healed_at, healed_at=silence.healed_at, detail=f"end of a silence: {silence.detail}"
    )


def _continued_at(context: ProofContext, action: Action) -> float | None:
    """Return when stopped tasks were continued: by a later action on them, else by the end of the experiment."""
    starts = [
        each["start"] for each in _signals(context, action, CONTINUING) if each["start"] >= action["start"] - SKEW_S
    ]
    return min(starts, default=context.experiment.ended_at)


def _signals(context: ProofContext, action: Action, signals: frozenset[str]) -> list[Action]:
    """Return the actions that sent one of the signals to the same targets."""
    return [
        each
        for each in context.experiment.actions
        if each["action_id"] == KILL
        and each["start"] is not None
        and _signal(each) in signals
        and set(each["targets"]) & set(action["targets"])
    ]


def _signal(action: Action) -> str:
    return str((action.get("parameters") or {}).get("signal") or "SIGTERM")
