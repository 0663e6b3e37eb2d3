"""Run a Map state: its items inside of the execution, or each as a child execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.local.stepfunctions.errors import StateFailed, evaluation_error, runtime_error
from kit.local.stepfunctions.language.json_values import dump
from kit.local.stepfunctions.language.scopes import Scope
from kit.local.stepfunctions.language.state_machine import State
from kit.local.stepfunctions.states import data_flow, map_items
from kit.local.stepfunctions.states.branch import Branch
from kit.local.stepfunctions.states.concurrency import run_all
from kit.local.stepfunctions.states.data_flow import Outcome
from kit.local.stepfunctions.states.interpreter import Interpreter
from kit.local.stepfunctions.states.map_run import ABORTED, FAILED, SUCCEEDED, Thresholds
from kit.local.stepfunctions.states.map_runs import MapRuns
from kit.local.stepfunctions.tasks.sdk_calls import SdkCalls

# As many iterations as AWS runs at once inside of an execution, and as many children as we start at once.
INLINE_MAX = 40
CHILDREN_MAX = 100


class MapState:
    """The action of Map states."""

    def __init__(self, interpreter: Interpreter, map_runs: MapRuns, calls: SdkCalls) -> None:
        self._interpreter = interpreter
        self._map_runs = map_runs
        self._calls = calls

    async def run(self, branch: Branch, state: State, data: Any) -> Outcome:
        """Run one attempt."""
        raw = data_flow.scope_of(branch, data)
        scope = data_flow.effective_input(state, raw)
        at_once = data_flow.number(state, scope, "MaxConcurrency", default=0) or 0
        items = None if "ItemReader" in state.fields else _items(state, scope)
        if state.is_distributed:
            result = await self._distributed(branch, state, scope, items, min(at_once or CHILDREN_MAX, CHILDREN_MAX))
        else:
            result = await self._inline(branch, state, scope, items or [], min(at_once or INLINE_MAX, INLINE_MAX))
        branch.record("MapStateSucceeded")
        return data_flow.finish(state, branch, raw, result)

    async def _inline(self, branch: Branch, state: State, scope: Scope, items: list[Any], at_once: int) -> list[Any]:
        branch.record("MapStateStarted", {"length": len(items)})
        running: dict[int, Branch] = {}

        async def iterate(index: int) -> Any:
            child = running[index] = branch.child()
            named = {"name": state.name, "index": index}
            child.record("MapIterationStarted", named)
            try:
                given = select_item(state, scope, index, items[index])
                output = await self._interpreter.run(child, state.inner[0], given)
            except StateFailed as failure:
                if not failure.is_terminal:
                    child.record("MapIterationFailed", named)
                del running[index]
                raise
            del running[index]
            child.record("MapIterationSucceeded", named)
            branch.last_event = max(branch.last_event, child.last_event)
            return output

        try:
            return await run_all(iterate, len(items), at_once)
        except StateFailed:
            for index, child in running.items():
                child.abort()
                child.record("MapIterationAborted", {"name": state.name, "index": index})
            raise

    async def _distributed(
        self, branch: Branch, state: State, scope: Scope, items: list[Any] | None, at_once: int
    ) -> Any:
        branch.record("MapStateStarted", {"length": len(items) if items is not None else 0})
        thresholds = Thresholds(
            count=data_flow.number(state, scope, "ToleratedFailureCount"),
            percentage=data_flow.percentage(state, scope, "ToleratedFailurePercentage"),
        )
        run = self._map_runs.open(branch, state, at_once, thresholds)
        status = ABORTED
        try:
            branch.record("MapRunStarted", {"mapRunArn": run.arn})
            if items is None:
                items = await map_items.read_items(state, scope, self._calls)
            selected = [select_item(state, scope, index, item) for index, item in enumerate(items)]
            inputs = map_items.batches(state, selected, scope)
            result = await self._map_runs.run(run, inputs, len(items), scope)
            status = SUCCEEDED
        except StateFailed as failure:
            status = FAILED
            if not failure.is_terminal:
                branch.record("MapRunFailed", {"error": failure.name, "cause": failure.cause})
            raise
        finally:
            self._map_runs.close(run, status)
        branch.record("MapRunSucceeded")
        return result


def select_item(state: State, scope: Scope, index: int, item: Any) -> Any:
    """Return the input of an item: itself, or what ItemSelector makes of it."""
    name = "ItemSelector" if "ItemSelector" in state.fields else "Parameters"
    if name not in state.fields:
        return item
    own: Mapping[str, Any] = {"Map": {"Item": {"Index": index, "Value": item}}}
    inside = scope.given(context={**scope.context, **own})
    template = state.fields[name]
    return inside.evaluate(template, name) if state.is_jsonata else inside.fill(template)


def _items(state: State, scope: Scope) -> list[Any]:
    if state.is_jsonata:
        if "Items" in state.fields:
            return scope.evaluate_as(state.fields["Items"], "Items", ("array",))
        if not isinstance(scope.input, list):
            raise evaluation_error(f"Map state input must be an array but was: {dump(scope.input)}", location="Items")
        return scope.input
    path = state.fields.get("ItemsPath", "$")
    found = scope.select(path)
    if not isinstance(found, list):
        raise runtime_error(f'Reference path "{path}" must point to array.')
    return found
