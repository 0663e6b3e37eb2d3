"""Hold the state of an execution and of its steps, and convert it for the API and the journal."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kit.local.ssm import runbook_parser
from kit.local.ssm.parameters import to_wire
from kit.local.ssm.references import text_of
from kit.local.ssm.runbook import Runbook, Step

PENDING = "Pending"
IN_PROGRESS = "InProgress"
SUCCESS = "Success"
FAILED = "Failed"
TIMED_OUT = "TimedOut"
CANCELLING = "Cancelling"
CANCELLED = "Cancelled"
COMPLETED_WITH_SUCCESS = "CompletedWithSuccess"
COMPLETED_WITH_FAILURE = "CompletedWithFailure"

ACTIVE = frozenset({PENDING, IN_PROGRESS, CANCELLING})
MESSAGE_CHARS_MAX = 2_000


@dataclass(slots=True, kw_only=True)
class StepRun:
    """The state of one step; a step that runs again starts over."""

    step: Step
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = PENDING
    started_at: float | None = None
    ended_at: float | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    failure: str = ""
    failure_kind: str = ""

    def begin(self) -> None:
        """Mark the step as running."""
        self.status, self.started_at, self.ended_at = IN_PROGRESS, time.time(), None
        self.failure = self.failure_kind = ""

    def end(self, status: str, failure: str = "", kind: str = "") -> None:
        """Mark the step as ended."""
        self.status, self.ended_at = status, time.time()
        self.failure, self.failure_kind = failure[:MESSAGE_CHARS_MAX], kind

    def describe(self) -> dict[str, Any]:
        """Return the step as the API does."""
        step = self.step
        details = {"FailureStage": "Invocation", "FailureType": self.failure_kind, "Details": {}}
        return {
            "StepName": step.name,
            "StepExecutionId": self.id,
            "Action": step.action,
            "StepStatus": self.status,
            "ExecutionStartTime": self.started_at,
            "ExecutionEndTime": self.ended_at,
            "Inputs": {key: text_of(value) for key, value in self.inputs.items()},
            "Outputs": {key: to_wire(value) for key, value in self.outputs.items()},
            "FailureMessage": self.failure or None,
            "FailureDetails": details if self.failure else None,
            "MaxAttempts": step.attempts_max,
            "TimeoutSeconds": None if step.timeout_s is None else int(step.timeout_s),
            "OnFailure": step.on_failure,
            "IsEnd": step.is_end,
            "IsCritical": step.is_critical,
            "NextStep": step.next_step or None,
        }


@dataclass(slots=True, kw_only=True)
class Execution:
    """The state of one execution; `runbook` is the document version that it was started with."""

    id: str
    document: str
    version: str
    runbook: Runbook
    parameters: dict[str, Any]
    account: str
    region: str
    tags: dict[str, str] = field(default_factory=dict)
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    status: str = PENDING
    failure: str = ""
    current: str = ""
    steps: dict[str, StepRun] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.steps = {step.name: StepRun(step=step) for step in self.runbook.steps}

    @property
    def is_active(self) -> bool:
        """Whether it is not yet in a final state."""
        return self.status in ACTIVE

    @property
    def is_settled(self) -> bool:
        """Whether it has ended, and its last step did not fail: all its changes have been put back."""
        last = self.steps.get(self.current)
        return not self.is_active and (last is None or last.status in (SUCCESS, CANCELLED))

    def value_of(self, name: str) -> Any:
        """Return the value of `{{ name }}`. Raises KeyError for an output that does not exist yet."""
        if name in self.parameters:
            return self.parameters[name]
        now = datetime.now(UTC)
        known = {
            "automation:EXECUTION_ID": self.id,
            "global:ACCOUNT_ID": self.account,
            "global:REGION": self.region,
            "global:DATE": now.strftime("%Y-%m-%d"),
            "global:DATE_TIME": now.strftime("%Y-%m-%d_%H.%M.%S"),
        }
        if name in known:
            return known[name]
        step, _, output = name.rpartition(".")
        if step not in self.steps or output not in self.steps[step].outputs:
            raise KeyError(name)
        return self.steps[step].outputs[output]

    def outputs(self) -> dict[str, Any]:
        """Return the runbook's outputs that exist so far."""
        found = {}
        for name in self.runbook.outputs:
            step, _, output = name.rpartition(".")
            if output in self.steps[step].outputs:
                found[name] = to_wire(self.steps[step].outputs[output])
        return found

    def describe(self) -> dict[str, Any]:
        """Return the execution as GetAutomationExecution does."""
        begun = [run for run in self.steps.values() if run.started_at is not None]
        return {
            **self.summary(),
            "StepExecutions": [run.describe() for run in self.steps.values()],
            "StepExecutionsTruncated": False,
            "Parameters": {name: to_wire(value) for name, value in self.parameters.items()},
            "ProgressCounters": {
                "TotalSteps": len(self.steps),
                "SuccessSteps": sum(run.status == SUCCESS for run in begun),
                "FailedSteps": sum(run.status == FAILED for run in begun),
                "CancelledSteps": sum(run.status == CANCELLED for run in begun),
                "TimedOutSteps": sum(run.status == TIMED_OUT for run in begun),
            },
        }

    def summary(self) -> dict[str, Any]:
        """Return the execution as DescribeAutomationExecutions does."""
        current = self.steps.get(self.current)
        is_running = self.is_active and current is not None
        return {
            "AutomationExecutionId": self.id,
            "DocumentName": self.document,
            "DocumentVersion": self.version,
            "AutomationExecutionStatus": self.status,
            "ExecutionStartTime": self.started_at,
            "ExecutionEndTime": self.ended_at,
            "ExecutedBy": f"arn:aws:iam::{self.account}:root",
            "Mode": "Auto",
            "Outputs": self.outputs(),
            "FailureMessage": self.failure or None,
            "CurrentStepName": self.current if is_running else None,
            "CurrentAction": current.step.action if is_running and current else None,
            "Targets": [],
        }

    def record(self, step: str, *, is_repairing: bool) -> dict[str, Any]:
        """Return the journal's record before `step` acts: all that a new server needs for the repair."""
        return {
            "id": self.id, "document": self.document, "version": self.version, "content": self.runbook.raw,
            "parameters": self.parameters, "account": self.account, "region": self.region, "tags": self.tags,
            "started_at": self.started_at, "step": step, "is_repairing": is_repairing,
            "outputs": {run.step.name: run.outputs for run in self.steps.values() if run.outputs},
        }  # fmt: skip

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Execution:
        """Restore an execution from the journal's record."""
        names = ("id", "document", "version", "parameters", "account", "region", "tags", "started_at")
        execution = cls(runbook=runbook_parser.parse(record["content"]), **{name: record[name] for name in names})
        for name, outputs in record["outputs"].items():
            execution.steps[name].outputs = outputs
        execution.current = record["step"]
        return execution
