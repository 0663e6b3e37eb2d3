"""Run a sequence of states: transitions, retries, catchers, and the events of entering and leaving."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kit.local.stepfunctions.errors import QueryFailed, StateFailed
from kit.local.stepfunctions.language.json_values import dump
from kit.local.stepfunctions.language.state_machine import Machine, State
from kit.local.stepfunctions.states import data_flow, retries
from kit.local.stepfunctions.states.branch import Branch, limited
from kit.local.stepfunctions.states.data_flow import Outcome
from kit.local.stepfunctions.states.history import payload

# Runs one attempt of a state: its branch, the state and its input.
Action = Callable[[Branch, State, Any], Awaitable[Outcome]]
# Types whose own failure has an event besides those of what is inside of them.
_FAILED_EVENTS = frozenset({"Map", "Parallel"})


class Interpreter:
    """Run states by the actions of their types."""

    def __init__(self, actions: Mapping[str, Action]) -> None:
        self._actions = actions

    async def run(self, branch: Branch, machine: Machine, data: Any) -> Any:
        """Run a machine to its end and return its output. Raises StateFailed."""
        following: str | None = machine.start_at
        while following is not None:
            state = machine.states[following]
            outcome = await self._run_state(branch, state, data)
            data, following = outcome.output, outcome.next
            # A machine of states that wait for nothing must not keep the event loop.
            await asyncio.sleep(0)
        return data

    async def _run_state(self, branch: Branch, state: State, data: Any) -> Outcome:
        branch.enter(state)
        entered = {"name": state.name, **payload("input", limited(data, state.name))}
        branch.entered_event = branch.record(f"{state.type}StateEntered", entered)
        outcome = await self._attempt(branch, state, data)
        branch.variables.update(outcome.assigned)
        exited: dict[str, Any] = {"name": state.name, **payload("output", dump(outcome.output))}
        if outcome.assigned:
            exited["assignedVariables"] = {name: dump(value) for name, value in outcome.assigned.items()}
            exited["assignedVariablesDetails"] = {"truncated": False}
        branch.record(f"{state.type}StateExited", exited)
        branch.leave()
        return outcome

    async def _attempt(self, branch: Branch, state: State, data: Any) -> Outcome:
        done: Counter[int] = Counter()
        while True:
            try:
                return await self._actions[state.type](branch, state, data)
            except StateFailed as raised:
                failure = _explained(raised, branch, state)
                delay_s = _retry_delay_s(state, failure, done, branch)
                if delay_s is None:
                    return self._catch(branch, state, data, failure)
            await branch.clock.sleep(delay_s)
            branch.retry_count += 1

    def _catch(self, branch: Branch, state: State, data: Any, failure: StateFailed) -> Outcome:
        """Return the outcome by the first catcher that matches. Raises the failure if none does."""
        if state.type in _FAILED_EVENTS and not failure.is_terminal:
            branch.record(f"{state.type}StateFailed")
        for index, catcher in enumerate(state.fields.get("Catch") or ()):
            if not retries.matches(catcher["ErrorEquals"], failure, is_heartbeat=_is_heartbeat(failure)):
                continue
            try:
                return _caught(branch, state, data, failure, catcher)
            except QueryFailed as raised:
                raised.location = f"Catch[{index}]/{raised.location}" if raised.location else ""
                raise _explained(raised, branch, state) from failure
        raise failure


def _caught(branch: Branch, state: State, data: Any, failure: StateFailed, catcher: Mapping[str, Any]) -> Outcome:
    error = {"Error": failure.name, "Cause": failure.cause}
    scope = data_flow.scope_of(branch, data)
    if state.is_jsonata:
        return data_flow.finish_jsonata(catcher, branch, scope.given(error=error), error, catcher["Next"])
    assigned = data_flow.assign(catcher.get("Assign"), scope.given(input=error), is_jsonata=False)
    output = data_flow.place(catcher.get("ResultPath", "$"), scope, error)
    return data_flow.outcome(branch, output, catcher["Next"], assigned, state.name)


def _explained(failure: StateFailed, branch: Branch, state: State) -> StateFailed:
    """Return a failure of a query with the state in its cause, and record its event."""
    if not isinstance(failure, QueryFailed) or failure.cause != failure.text:
        return failure
    failure.cause = (
        f"An error occurred while executing the state '{state.name}' (entered at the event id "
        f"#{branch.entered_event}). {failure.text}"
    )
    if failure.is_recorded:
        details = {"error": failure.name, "cause": failure.cause, "location": failure.location, "state": state.name}
        branch.record("EvaluationFailed", details)
    return failure


def _is_heartbeat(failure: StateFailed) -> bool:
    return getattr(failure, "is_heartbeat", False)


def _retry_delay_s(state: State, failure: StateFailed, done: Counter[int], branch: Branch) -> float | None:
    for index, retrier in enumerate(state.fields.get("Retry") or ()):
        if retries.matches(retrier["ErrorEquals"], failure, is_heartbeat=_is_heartbeat(failure)):
            delay_s = retries.delay_s(retrier, done[index], branch.clock.random)
            done[index] += 1
            return delay_s
    return None
