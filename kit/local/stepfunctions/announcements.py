"""Tell the rest of the cloud about executions: EventBridge events, CloudWatch metrics and logs.

A failure to publish never fails an execution.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.services import cloudwatch, eventbridge

from kit.local.publishing import never_raises
from kit.local.stepfunctions import log_delivery
from kit.local.stepfunctions.executions import RUNNING, SUCCEEDED, Execution
from kit.local.stepfunctions.language.json_values import dump, size_bytes
from kit.local.stepfunctions.states.history import Event

EVENT = "Step Functions Execution Status Change"
NAMESPACE = "AWS/States"
# A larger payload is left out of the event.
PAYLOAD_BYTES_MAX = 248 * 1024
_METRICS = {
    "SUCCEEDED": "ExecutionsSucceeded", "FAILED": "ExecutionsFailed", "ABORTED": "ExecutionsAborted",
    "TIMED_OUT": "ExecutionsTimedOut",
}  # fmt: skip


@never_raises
def event_recorded(execution: Execution, event: Event) -> None:
    """Deliver an event of an execution's history to its log."""
    log_delivery.deliver(execution, event)


def status_changed(execution: Execution) -> None:
    """Publish that an execution has started or ended."""
    _count(execution)
    # Express executions send no events, as on AWS.
    if not execution.is_express:
        _announce(execution)


@never_raises
def _count(execution: Execution) -> None:
    if execution.status == RUNNING:
        _put(execution, "ExecutionsStarted", "Count", 1.0)
        return
    _put(execution, _METRICS[execution.status], "Count", 1.0)
    duration_ms = ((execution.ended_at or 0.0) - execution.started_at) * 1000
    _put(execution, "ExecutionTime", "Milliseconds", duration_ms)


def _put(execution: Execution, name: str, unit: str, value: float) -> None:
    dims = {"StateMachineArn": execution.revision.arn}
    at = execution.ended_at or execution.started_at
    cloudwatch._store_datum(NAMESPACE, name, dims, at, unit, None, [value], [1.0], None)


@never_raises
def _announce(execution: Execution) -> None:
    failed = execution.status not in (RUNNING, SUCCEEDED)
    detail: dict[str, Any] = {
        "executionArn": execution.arn,
        "stateMachineArn": execution.revision.arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": int(execution.started_at * 1000),
        "stopDate": None if execution.ended_at is None else int(execution.ended_at * 1000),
        "input": execution.input_text,
        "inputDetails": {"included": True},
        "output": dump(execution.output) if execution.status == SUCCEEDED else None,
        "outputDetails": {"included": True} if execution.status == SUCCEEDED else None,
        "stateMachineVersionArn": execution.revision.version_arn,
        "stateMachineAliasArn": execution.revision.alias_arn,
        "redriveCount": 0,
        "redriveDate": None,
        "redriveStatus": "NOT_REDRIVABLE",
        "redriveStatusReason": execution.describe()["redriveStatusReason"],
        "error": execution.error if failed else None,
        "cause": execution.cause if failed else None,
    }
    for name in ("input", "output"):
        if detail[name] is not None and size_bytes(detail[name]) > PAYLOAD_BYTES_MAX:
            detail |= {name: None, f"{name}Details": {"included": False}}
    entry = {
        "Source": "aws.states", "DetailType": EVENT, "Detail": json.dumps(detail), "Resources": [execution.arn],
    }  # fmt: skip
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
