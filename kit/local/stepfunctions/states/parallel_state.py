"""Run a Parallel state: its branches at the same time, all of them stopped when one fails."""

from __future__ import annotations

from typing import Any

from kit.local.stepfunctions.errors import StateFailed
from kit.local.stepfunctions.language.state_machine import State
from kit.local.stepfunctions.states import data_flow
from kit.local.stepfunctions.states.branch import Branch
from kit.local.stepfunctions.states.concurrency import run_all
from kit.local.stepfunctions.states.data_flow import Outcome
from kit.local.stepfunctions.states.interpreter import Interpreter


class ParallelState:
    """The action of Parallel states."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter

    async def run(self, branch: Branch, state: State, data: Any) -> Outcome:
        """Run one attempt."""
        raw = data_flow.scope_of(branch, data)
        given = data_flow.arguments(state, data_flow.effective_input(state, raw))
        branch.record("ParallelStateStarted")
        children = [branch.child() for _ in state.inner]
        try:
            result = await run_all(
                lambda index: self._interpreter.run(children[index], state.inner[index], given),
                len(children),
                len(children),
            )
        except StateFailed:
            for child in children:
                child.abort()
            raise
        branch.last_event = max(child.last_event for child in children)
        branch.record("ParallelStateSucceeded")
        return data_flow.finish(state, branch, raw, result)
