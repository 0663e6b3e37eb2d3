"""Start, follow and stop an execution of the state machine, and say what it does, state by state."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kit.aws.client_errors import ClientSource, cloud_errors
from kit.errors import CloudError

RUNNING, SUCCEEDED = "RUNNING", "SUCCEEDED"
POLL_S = 1.0
# Looks in a row that may fail before the execution counts as lost.
FAILED_LOOKS_MAX = 10
LISTED_MAX = 20
PAGE_EVENTS = 50
ENTERED, EXITED = "StateEntered", "StateExited"
# States that the machine enters again and again while it waits.
QUIET = frozenset(
    {"LookForReady", "IsReady", "WaitForReady", "WaitForExperiment", "LookAtExperiment", "IsExperimentOver"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A state that was entered (`is_over` false) or left, at a time in epoch seconds."""

    state: str
    at: float
    is_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One execution in a list."""

    arn: str
    name: str
    status: str
    started_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an execution ended. `error` and `cause` are empty for one that succeeded."""

    status: str
    error: str
    cause: str


def start(session: ClientSource, state_machine: str, run_id: str) -> str:
    """Start the execution of a run, which has its name; returns its ARN."""
    with cloud_errors(f"starting the execution of {run_id}"):
        answer = session.client("stepfunctions").start_execution(
            stateMachineArn=state_machine, name=run_id, input=json.dumps({"run_id": run_id})
        )
    return answer["executionArn"]


def follow(
    session: ClientSource, execution: str, *, timeout_s: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Step | Ending]:
    """Yield each state as it is entered and left, at last the ending. Raises CloudError at the deadline."""
    states, seen, failures = session.client("stepfunctions"), 0, 0
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with cloud_errors(f"execution {execution}"):
                about = states.describe_execution(executionArn=execution)
                steps, seen = _steps_since(states, execution, seen)
            failures = 0
        except CloudError:
            failures += 1
            if failures >= FAILED_LOOKS_MAX:
                raise
            sleep(POLL_S)
            continue
        yield from steps
        if about["status"] != RUNNING:
            yield Ending(status=about["status"], error=about.get("error", ""), cause=about.get("cause", ""))
            return
        if time.monotonic() > deadline:
            raise CloudError(f"execution {execution} still runs after {timeout_s:g} s")
        sleep(POLL_S)


def latest(session: ClientSource, state_machine: str) -> list[Summary]:
    """Return the newest executions, the newest first."""
    with cloud_errors(f"executions of {state_machine}"):
        found = session.client("stepfunctions").list_executions(stateMachineArn=state_machine, maxResults=LISTED_MAX)
    return [
        Summary(arn=one["executionArn"], name=one["name"], status=one["status"], started_at=one["startDate"])
        for one in found["executions"]
    ]


def running(session: ClientSource, state_machine: str) -> list[str]:
    """Return the names of the executions that run, among the newest."""
    return [one.name for one in latest(session, state_machine) if one.status == RUNNING]


def open_states(taken: Sequence[Step]) -> list[str]:
    """Return the states that were entered more often than left."""
    counts: Counter[str] = Counter()
    for step in taken:
        counts[step.state] += -1 if step.is_over else 1
    return [name for name, count in counts.items() if count > 0]


def steps(session: ClientSource, execution: str) -> list[Step]:
    """Return every state that was entered or left so far."""
    with cloud_errors(f"history of {execution}"):
        found, _ = _steps_since(session.client("stepfunctions"), execution, 0)
    return found


def _steps_since(states: Any, execution: str, seen: int) -> tuple[list[Step], int]:
    """Return the steps after the event `seen`, and the number of the last event; reads no more than is new."""
    found: list[Mapping[str, Any]] = []
    pages = states.get_paginator("get_execution_history").paginate(
        executionArn=execution,
        includeExecutionData=False,
        reverseOrder=True,
        PaginationConfig={"PageSize": PAGE_EVENTS},
    )
    for page in pages:
        fresh = [event for event in page["events"] if event["id"] > seen]
        found += fresh
        if len(fresh) < len(page["events"]):
            break
    found.reverse()
    return [step for event in found for step in _step_of(event)], found[-1]["id"] if found else seen


def _step_of(event: Mapping[str, Any]) -> list[Step]:
    for kind in (ENTERED, EXITED):
        if event["type"].endswith(kind):
            name = event[f"state{kind.removeprefix('State')}EventDetails"]["name"]
            return [Step(state=name, at=event["timestamp"].timestamp(), is_over=kind == EXITED)]
    return []


def stop(session: ClientSource, execution: str, *, cause: str) -> None:
    """Stop an execution; one that is over stays so. What it started is ended by the clean-up function."""
    states = session.client("stepfunctions")
    with cloud_errors(f"stopping {execution}"), suppress(states.exceptions.ExecutionDoesNotExist):
        states.stop_execution(executionArn=execution, error="GameDay.Stopped", cause=cause)
