"""Which action is proven how. The first line of each prover's docstring says it in a sentence, for people to read.

What is missing here leaves every run that uses it INVALID: the kit knows no evidence of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from kit.faults.proofs import dynamodb, network, processes, services, task_stops
from kit.faults.proofs.proof_context import Prover
from kit.fis_rules.catalog import HARMLESS

PROVERS: Mapping[str, Prover] = {
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
    """One sentence; for an action without a prover it says so."""
    if action_id in HARMLESS:
        return "It breaks nothing, and needs no proof."
    prover = PROVERS.get(action_id)
    return (prover.__doc__ or "").strip().splitlines()[0] if prover else "Nothing: a run that uses it is INVALID."
