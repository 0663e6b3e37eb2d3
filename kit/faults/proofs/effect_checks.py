"""Map action ids to effect checks. The docstring of a check appears on the fidelity page.

A run that uses an action without an effect check is INVALID.
"""

from __future__ import annotations

from collections.abc import Mapping

from kit.faults.proofs import dynamodb, network, processes, services, task_stops
from kit.faults.proofs.proof_context import EffectCheck
from kit.fis_rules.catalog import HARMLESS

EFFECT_CHECKS: Mapping[str, EffectCheck] = {
    "aws:arc:start-zonal-autoshift": services.prove_shifted,
    "aws:dynamodb:global-table-pause-replication": dynamodb.prove_replication_paused,
    "aws:ecs:stop-task": task_stops.prove_stopped,
    "aws:ecs:task-cpu-stress": processes.prove_starved,
    "aws:ecs:task-kill-process": processes.prove_signalled,
    "aws:ecs:task-network-blackhole-port": network.prove_blackhole,
    "aws:ecs:task-network-latency": network.prove_latency,
    "aws:ecs:task-network-packet-loss": network.prove_loss,
    "aws:lambda:invocation-add-delay": services.prove_functions_late,
    "aws:lambda:invocation-error": services.prove_functions_fail,
    "aws:network:disrupt-connectivity": network.prove_connectivity,
    "aws:network:disrupt-vpc-endpoint": network.prove_endpoint,
    "aws:ssm:start-automation-execution": services.prove_automation,
}


def how_proven(action_id: str) -> str:
    """Say how the effect of an action is proven, or that it is not."""
    if action_id in HARMLESS:
        return "It breaks nothing, and needs no proof."
    check = EFFECT_CHECKS.get(action_id)
    return " ".join((check.__doc__ or "").split()) if check else "Nothing: a run that uses it is INVALID."
