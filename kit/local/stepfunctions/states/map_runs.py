"""Run the items of a distributed Map as child executions, within its tolerance of failures."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from kit.local.stepfunctions.errors import THRESHOLD_EXCEEDED, StateFailed
from kit.local.stepfunctions.language.scopes import Scope
from kit.local.stepfunctions.language.state_machine import State
from kit.local.stepfunctions.states.branch import Branch
from kit.local.stepfunctions.states.concurrency import run_all
from kit.local.stepfunctions.states.map_results import write_results
from kit.local.stepfunctions.states.map_run import MapRun, Thresholds
from kit.local.stepfunctions.tasks.sdk_calls import SdkCalls

RUNS_KEPT_MAX = 1_000
# Runs a child execution of a run to its end: the run, the index and the input.
RunChild = Callable[[MapRun, int, Any], Any]


class MapRuns:
    """The map runs of one cloud by their ARNs."""

    def __init__(self, calls: SdkCalls, now: Callable[[], float]) -> None:
        self._calls = calls
        self._now = now
        self._runs: dict[str, MapRun] = {}
        self.run_child: RunChild | None = None

    def find(self, arn: str) -> MapRun | None:
        """Return a run, or None."""
        return self._runs.get(arn)

    def of_execution(self, execution_arn: str) -> list[MapRun]:
        """Return the runs of an execution."""
        return [run for run in self._runs.values() if run.execution_arn == execution_arn]

    def open(self, branch: Branch, state: State, at_once: int, thresholds: Thresholds) -> MapRun:
        """Begin a run."""
        context = branch.context()
        machine_arn = context["StateMachine"]["Id"]
        label = state.fields.get("Label") or str(uuid.uuid4())
        head = machine_arn.replace(":stateMachine:", ":mapRun:")
        run = MapRun(
            arn=f"{head}/{label}:{uuid.uuid4()}", execution_arn=context["Execution"]["Id"], machine_arn=machine_arn,
            label=label, state=state, at_once=at_once, thresholds=thresholds, started_at=branch.clock.now(),
        )  # fmt: skip
        while len(self._runs) >= RUNS_KEPT_MAX:
            self._runs.pop(next(iter(self._runs)))
        self._runs[run.arn] = run
        return run

    async def run(self, run: MapRun, inputs: list[Any], items: int, scope: Scope) -> Any:
        """Run all children and return the Map's result. Raises StateFailed when too many failed."""
        run.begin(inputs, items)
        await run_all(lambda index: self._run_one(run, index), len(inputs), run.at_once)
        return await write_results(run, scope, self._calls)

    def close(self, run: MapRun, status: str) -> None:
        """End a run."""
        run.end(status, self._now())

    async def _run_one(self, run: MapRun, index: int) -> None:
        if self.run_child is None:
            raise AssertionError("the engine has not attached the starter of child executions")
        run.running += 1
        try:
            run.add(index, await self.run_child(run, index, run.inputs[index]))
        finally:
            run.running -= 1
        if run.is_failed():
            raise StateFailed(THRESHOLD_EXCEEDED, "The specified tolerated failure threshold was exceeded")
