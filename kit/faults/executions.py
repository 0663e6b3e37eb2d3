"""Stop the state machine's executions of a run, which would otherwise go on to inject its fault."""

from __future__ import annotations

from kit.aws.client_errors import ClientSource, cloud_errors

# State machines that conduct game days; an execution has the name of its run.
MACHINE_PREFIX = "gameday-"


def stop_executions(session: ClientSource, run_id: str) -> list[str]:
    """Stop every running execution of a run, and return their ARNs."""
    states = session.client("stepfunctions")
    with cloud_errors(f"executions of run {run_id}"):
        machines = [
            machine["stateMachineArn"]
            for page in states.get_paginator("list_state_machines").paginate()
            for machine in page["stateMachines"]
            if machine["name"].startswith(MACHINE_PREFIX)
        ]
        found = [
            execution["executionArn"]
            for machine in machines
            for page in states.get_paginator("list_executions").paginate(
                stateMachineArn=machine, statusFilter="RUNNING"
            )
            for execution in page["executions"]
            if execution["name"] == run_id
        ]
        for arn in found:
            states.stop_execution(executionArn=arn, error="GameDay.Stopped", cause=f"run {run_id} was stopped")
    return found
