"""Serve the operations on executions and map runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.local.stepfunctions.api_call import Call, Operation, Response
from kit.local.stepfunctions.errors import ApiError
from kit.local.stepfunctions.executions import Execution
from kit.local.stepfunctions.machines import EXPRESS, base_arn
from kit.local.stepfunctions.operations_machines import METADATA_ONLY, TRACING_OFF, check_machine_arn
from kit.local.stepfunctions.states.history import Event
from kit.local.stepfunctions.states.map_run import MapRun
from kit.local.stepfunctions.wire import page

# The counter of a map run that a status belongs to.
_COUNTERS = {"SUCCEEDED": "succeeded", "FAILED": "failed", "TIMED_OUT": "timedOut", "ABORTED": "aborted"}
_PAYLOADS = ("input", "output", "inputDetails", "outputDetails")


def start_execution(call: Call) -> Response:
    execution = _start(call)
    return {"executionArn": execution.arn, "startDate": execution.started_at}


def _start(call: Call) -> Execution:
    request = call.request
    revision = call.engine.machines.resolve(check_machine_arn(request["stateMachineArn"]))
    return call.engine.start(revision, request.get("name"), request.get("input", "{}"), request.get("traceHeader"))


async def start_sync_execution(call: Call) -> Response:
    request = call.request
    revision = call.engine.machines.resolve(check_machine_arn(request["stateMachineArn"]))
    if revision.kind != EXPRESS:
        raise ApiError("StateMachineTypeNotSupported", "This operation is not supported by this type of state machine")
    execution = _start(call)
    await execution.ended.wait()
    duration_ms = int(((execution.ended_at or 0.0) - execution.started_at) * 1000)
    billing = {"billedMemoryUsedInMB": 64, "billedDurationInMilliseconds": -(-duration_ms // 100) * 100}
    return {**_shown(execution, request), "billingDetails": billing}


def _shown(execution: Execution, request: Mapping[str, Any]) -> Response:
    shown = execution.describe()
    if request.get("includedData") == METADATA_ONLY:
        shown = {name: item for name, item in shown.items() if name not in _PAYLOADS}
    return shown


async def stop_execution(call: Call) -> Response:
    request = call.request
    execution = call.engine.find(request["executionArn"])
    if execution.is_running:
        await call.engine.stop(execution, request.get("error"), request.get("cause"))
    return {"stopDate": execution.ended_at}


def describe_execution(call: Call) -> Response:
    return _shown(call.engine.find(call.request["executionArn"]), call.request)


def describe_state_machine_for_execution(call: Call) -> Response:
    execution = call.engine.find(call.request["executionArn"])
    revision = execution.revision
    shown: Response = {
        "stateMachineArn": revision.arn, "name": revision.name, "definition": revision.definition,
        "roleArn": revision.role_arn, "updateDate": revision.updated_at, "loggingConfiguration": revision.logging,
        "tracingConfiguration": TRACING_OFF, "revisionId": revision.revision_id, "mapRunArn": execution.map_run_arn,
        "label": revision.label, "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
    }  # fmt: skip
    if call.request.get("includedData") == METADATA_ONLY:
        shown["definition"] = "{}"
    return {name: item for name, item in shown.items() if item is not None}


def list_executions(call: Call) -> Response:
    request = call.request
    arn, run_arn = request.get("stateMachineArn", ""), request.get("mapRunArn", "")
    if bool(arn) == bool(run_arn):
        raise ApiError("ValidationException", "Must specify either the State Machine ARN or the Map Run ARN")
    if run_arn:
        _run(call, run_arn)
        found = [each for each in call.engine.all() if each.map_run_arn == run_arn]
    else:
        if call.engine.machines.resolve(check_machine_arn(arn)).kind == EXPRESS:
            raise ApiError(
                "StateMachineTypeNotSupported", "This operation is not supported by this type of state machine"
            )
        found = [each for each in call.engine.all() if _is_of(each, arn)]
    status = request.get("statusFilter")
    shown = [each.summary() for each in found if status in (None, each.status)]
    return page("executions", shown, request)


def _is_of(execution: Execution, arn: str) -> bool:
    revision = execution.revision
    return execution.map_run_arn is None and (
        revision.arn == arn if arn == base_arn(arn) else arn in (revision.version_arn, revision.alias_arn)
    )


def get_execution_history(call: Call) -> Response:
    request = call.request
    events: list[Event] = list(call.engine.find(request["executionArn"]).history.events)
    if request.get("reverseOrder"):
        events.reverse()
    answer = page("events", events, request)
    if request.get("includeExecutionData", True) is False:
        answer["events"] = [_without_data(event) for event in answer["events"]]
    return answer


def _without_data(event: Event) -> Event:
    """Return an event without inputs and outputs."""
    return {
        name: {key: each for key, each in item.items() if key not in (*_PAYLOADS, "parameters")}
        if isinstance(item, dict)
        else item
        for name, item in event.items()
    }


def list_map_runs(call: Call) -> Response:
    execution = call.engine.find(call.request["executionArn"])
    shown = [
        {
            "executionArn": run.execution_arn, "mapRunArn": run.arn, "stateMachineArn": run.machine_arn,
            "startDate": run.started_at, **({} if run.ended_at is None else {"stopDate": run.ended_at}),
        }
        for run in call.engine.map_runs.of_execution(execution.arn)
    ]  # fmt: skip
    return page("mapRuns", shown, call.request)


def describe_map_run(call: Call) -> Response:
    run = _run(call, call.request["mapRunArn"])
    shown: Response = {
        "mapRunArn": run.arn, "executionArn": run.execution_arn, "status": run.status, "startDate": run.started_at,
        "maxConcurrency": run.at_once, "toleratedFailurePercentage": float(run.thresholds.percentage or 0),
        "toleratedFailureCount": run.thresholds.count or 0, "redriveCount": 0,
        "itemCounts": _counts(run, by_item=True), "executionCounts": _counts(run, by_item=False),
    }  # fmt: skip
    return shown if run.ended_at is None else {**shown, "stopDate": run.ended_at}


def _run(call: Call, arn: str) -> MapRun:
    run = call.engine.map_runs.find(arn)
    if run is None:
        raise ApiError("ResourceNotFound", f"Resource not found: '{arn}'")
    return run


def _counts(run: MapRun, *, by_item: bool) -> dict[str, int]:
    counted = run.items_by_status if by_item else run.executions_by_status
    total = run.items if by_item else run.executions
    shown = {name: counted[status] for status, name in _COUNTERS.items()}
    rest = total - counted.total()
    if run.ended_at is None:
        shown |= {"running": run.running, "pending": max(0, rest - run.running)}
    else:
        # What had not ended by itself was stopped with the run.
        shown |= {"running": 0, "pending": 0, "aborted": shown["aborted"] + rest}
    shown |= {"total": total, "resultsWritten": run.results_written}
    return shown | {"failuresNotRedrivable": 0, "pendingRedrive": 0}


OPERATIONS: Mapping[str, Operation] = {
    "StartExecution": start_execution,
    "StartSyncExecution": start_sync_execution,
    "StopExecution": stop_execution,
    "DescribeExecution": describe_execution,
    "DescribeStateMachineForExecution": describe_state_machine_for_execution,
    "ListExecutions": list_executions,
    "GetExecutionHistory": get_execution_history,
    "ListMapRuns": list_map_runs,
    "DescribeMapRun": describe_map_run,
}
