"""Hold one execution: what started it, how it ended, its history, and what the API shows of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from kit.local.stepfunctions.clocks import Clock, TimeIsUp
from kit.local.stepfunctions.errors import RUNTIME, StateFailed
from kit.local.stepfunctions.language.json_values import dump, parse_json
from kit.local.stepfunctions.language.state_machine import Machine
from kit.local.stepfunctions.machines import EXPRESS, Revision
from kit.local.stepfunctions.states.branch import Branch, iso_time
from kit.local.stepfunctions.states.history import Event, History, payload
from kit.local.stepfunctions.states.interpreter import Interpreter

RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED = "RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"
# AWS ends an express execution after five minutes.
EXPRESS_S_MAX = 300
ERROR_CHARS_MAX, CAUSE_CHARS_MAX = 256, 32_768
REDRIVABLE = "REDRIVABLE"


class Execution:
    """One execution of a revision of a state machine, or of the inside of a distributed Map."""

    def __init__(
        self, *, arn: str, name: str, revision: Revision, machine: Machine, text: str, clock: Clock,
        map_run_arn: str | None = None, map_item: int | None = None, trace_header: str | None = None,
        listener: Callable[[Execution, Event], None] | None = None,
    ) -> None:  # fmt: skip
        self.arn = arn
        self.name = name
        self.revision = revision
        self.machine = machine
        # As it was given: the API shows the text.
        self.input_text = text
        self.input = parse_json(text)
        self.map_run_arn = map_run_arn
        self.map_item = map_item
        self.trace_header = trace_header
        self.status = RUNNING
        self.output: Any = None
        self.error: str | None = None
        self.cause: str | None = None
        self.started_at = clock.now()
        self.ended_at: float | None = None
        self.ended = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._clock = clock
        self._stopped: tuple[str | None, str | None] | None = None
        self.history = History(clock.now, None if listener is None else lambda event: listener(self, event))

    @property
    def is_express(self) -> bool:
        """Whether the execution is an express one, which has no history."""
        return self.revision.kind == EXPRESS

    @property
    def is_running(self) -> bool:
        """Whether the execution has not ended."""
        return self.status == RUNNING

    async def run(self, interpreter: Interpreter) -> None:
        """Run to the end, which nothing but the end of the server prevents."""
        branch = Branch(history=self.history, clock=self._clock, context=self._context())
        self._record_start(branch)
        try:
            output = await self._clock.within(self._limit_s(), interpreter.run(branch, self.machine, self.input))
            self._end(branch, SUCCEEDED, "ExecutionSucceeded", payload("output", dump(output)), output=output)
        except StateFailed as failure:
            self._fail(branch, FAILED, "ExecutionFailed", failure.name, failure.cause)
        except TimeIsUp:
            self._fail(branch, TIMED_OUT, "ExecutionTimedOut", "States.Timeout", None)
        except asyncio.CancelledError:
            self._abort(branch)
        except Exception as defect:
            # A defect of ours must not leave an execution that runs for ever.
            self._fail(branch, FAILED, "ExecutionFailed", RUNTIME, f"internal error of the local AWS: {defect!r}")
            raise

    def stop(self, error: str | None, cause: str | None) -> None:
        """End the execution as aborted. Its branches end at once, and its jobs are stopped."""
        if self.is_running and self._stopped is None:
            self._stopped = (error, cause)
            if self.task is not None:
                self.task.cancel()

    def end_unstarted(self) -> None:
        """End an execution that was stopped before its first step."""
        if self.is_running:
            branch = Branch(history=self.history, clock=self._clock, context=self._context())
            self._record_start(branch)
            self._abort(branch)

    def _record_start(self, branch: Branch) -> None:
        branch.record("ExecutionStarted", {**payload("input", self.input_text), "roleArn": self.revision.role_arn})

    def _abort(self, branch: Branch) -> None:
        error, cause = self._stopped or (None, "The local AWS has ended")
        self._fail(branch, ABORTED, "ExecutionAborted", error, cause)

    def _limit_s(self) -> int | None:
        own = self.machine.timeout_s if self.map_run_arn is None else None
        return min(own or EXPRESS_S_MAX, EXPRESS_S_MAX) if self.is_express else own

    def _fail(self, branch: Branch, status: str, event: str, error: str | None, cause: str | None) -> None:
        self.error = None if error is None else error[:ERROR_CHARS_MAX]
        self.cause = cause[:CAUSE_CHARS_MAX] if cause else None
        self._end(branch, status, event, {"error": self.error, "cause": self.cause})

    def _end(self, branch: Branch, status: str, event: str, details: Mapping[str, Any], output: Any = None) -> None:
        # Branches run side by side: the last event of the history is the one before the end.
        branch.last_event = len(self.history.events)
        self.status, self.output, self.ended_at = status, output, self._clock.now()
        branch.record(event, details)
        self.ended.set()

    def _context(self) -> dict[str, Any]:
        execution: dict[str, Any] = {
            "Id": self.arn, "Input": self.input, "Name": self.name, "RoleArn": self.revision.role_arn,
            "StartTime": iso_time(self.started_at),
        }  # fmt: skip
        if not self.is_express:
            execution["RedriveCount"] = 0
        return {"Execution": execution, "StateMachine": {"Id": self.revision.arn, "Name": self.revision.name}}

    # ---- what the API shows

    def describe(self) -> dict[str, Any]:
        """Return the answer of DescribeExecution."""
        shown = self.summary()
        shown |= payload_member("input", self.input_text)
        if self.status == SUCCEEDED:
            shown |= payload_member("output", dump(self.output))
        shown |= {"error": self.error, "cause": self.cause, "traceHeader": self.trace_header}
        if not self.is_express:
            shown |= self._redrive()
        return {name: item for name, item in shown.items() if item is not None}

    def summary(self) -> dict[str, Any]:
        """Return an entry of ListExecutions."""
        shown: dict[str, Any] = {
            "executionArn": self.arn, "stateMachineArn": self.revision.arn, "name": self.name, "status": self.status,
            "startDate": self.started_at, "stopDate": self.ended_at, "mapRunArn": self.map_run_arn,
            "stateMachineVersionArn": self.revision.version_arn, "stateMachineAliasArn": self.revision.alias_arn,
        }  # fmt: skip
        if not self.is_express:
            shown["redriveCount"] = 0
        return {name: item for name, item in shown.items() if item is not None}

    def report(self) -> dict[str, Any]:
        """Return what DescribeExecution shows, with names in PascalCase and times in milliseconds."""
        shown = self.describe()
        for name in ("startDate", "stopDate"):
            if name in shown:
                shown[name] = int(shown[name] * 1000)
        for name in ("inputDetails", "outputDetails"):
            if name in shown:
                shown[name] = {"Included": True}
        return dict(sorted((name[:1].upper() + name[1:], item) for name, item in shown.items()))

    def _redrive(self) -> dict[str, Any]:
        if self.status in (RUNNING, SUCCEEDED):
            reason = f"Execution is {self.status} and cannot be redriven"
        else:
            reason = "The local AWS does not redrive executions"
        return {"redriveCount": 0, "redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": reason}


def payload_member(name: str, text: str) -> dict[str, Any]:
    """Return a payload as DescribeExecution shows it."""
    return {name: text, f"{name}Details": {"included": True}}
