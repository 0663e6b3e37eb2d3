"""Start jobs that a `.sync` task waits for: ECS tasks and nested executions. A job that nobody awaits is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from kit.local.stepfunctions.clocks import Clock
from kit.local.stepfunctions.errors import TASK_FAILED, ApiError, StateFailed
from kit.local.stepfunctions.language.json_values import dump, parse_json
from kit.local.stepfunctions.tasks.integrations import Integrations
from kit.local.stepfunctions.tasks.resources import SYNC_2, Resource
from kit.local.stepfunctions.tasks.sdk_calls import CallFailed, SdkCalls
from kit.local.stepfunctions.tasks.service_errors import named

# How often the state of an ECS task is looked up.
POLL_S = 0.5
# So many of these calls in a row may fail.
FAILED_LOOKS_MAX = 20
SUCCEEDED, STOPPED = "SUCCEEDED", "STOPPED"


class Job(Protocol):
    """A job that has been submitted; `submitted` is the answer to that."""

    submitted: dict[str, Any]

    @property
    def is_over(self) -> bool:
        """Whether the job is known to have ended."""
        ...

    async def wait(self) -> Any:
        """Return the task's output. Raises StateFailed."""
        ...

    async def stop(self) -> None:
        """Stop the job, as well as it can be done."""
        ...


class NestedExecution(Protocol):
    """An execution that another one has started."""

    arn: str
    status: str
    started_at: float
    ended: asyncio.Event

    def report(self) -> dict[str, Any]:
        """Return what DescribeExecution shows, with names in PascalCase."""
        ...


# Starts an execution by the parameters of startExecution. Raises ApiError.
StartNested = Callable[[Mapping[str, Any]], NestedExecution]
# Stops an execution with an error and a cause.
StopNested = Callable[[NestedExecution], Awaitable[None]]


class Jobs:
    """Submit jobs by the resource of a task."""

    def __init__(
        self, integrations: Integrations, calls: SdkCalls, clock: Clock, start: StartNested, stop: StopNested
    ) -> None:
        self._integrations = integrations
        self._calls = calls
        self._clock = clock
        self._start = start
        self._stop = stop

    async def submit(self, resource: Resource, parameters: Any) -> Job:
        """Start a job. Raises StateFailed."""
        if resource.service == "stepfunctions":
            return _NestedJob(self.start_nested(parameters), self._stop, is_parsed=resource.pattern == SYNC_2)
        submitted = await self._integrations.call(resource, parameters)
        if submitted.get("Failures"):
            raise StateFailed("AmazonECS.Unknown", dump({"Failures": submitted["Failures"]}))
        return _EcsJob(submitted, parameters.get("Cluster"), self._calls, self._clock)

    def start_nested(self, parameters: Any) -> NestedExecution:
        """Start an execution. Raises StateFailed."""
        try:
            return self._start(parameters if isinstance(parameters, Mapping) else {})
        except ApiError as error:
            failed = CallFailed(error.code, str(error), status=400)
            raise named("stepfunctions", failed, is_sdk=False) from error


def started(nested: NestedExecution) -> dict[str, Any]:
    """Return the answer to a start."""
    return {"ExecutionArn": nested.arn, "StartDate": int(nested.started_at * 1000)}


class _NestedJob:
    def __init__(self, nested: NestedExecution, stop: StopNested, *, is_parsed: bool) -> None:
        self.submitted = started(nested)
        self._nested = nested
        self._stop = stop
        self._is_parsed = is_parsed

    @property
    def is_over(self) -> bool:
        return self._nested.ended.is_set()

    async def wait(self) -> Any:
        await self._nested.ended.wait()
        report = self._nested.report()
        if self._is_parsed:
            # `.sync:2` shows JSON instead of texts, and was recorded without what redriving added to the answer.
            report = {name: item for name, item in report.items() if not name.startswith("Redrive")}
            report |= {name: parse_json(report[name]) for name in ("Input", "Output") if name in report}
        if self._nested.status != SUCCEEDED:
            raise StateFailed(TASK_FAILED, dump(report))
        return report

    async def stop(self) -> None:
        await self._stop(self._nested)


class _EcsJob:
    def __init__(self, submitted: dict[str, Any], cluster: Any, calls: SdkCalls, clock: Clock) -> None:
        self.submitted = submitted
        self._where = {} if cluster is None else {"Cluster": cluster}
        self._arns = [task["TaskArn"] for task in submitted.get("Tasks") or ()]
        self._calls = calls
        self._clock = clock
        self.is_over = False

    async def wait(self) -> Any:
        failures = 0
        while True:
            try:
                answer = await self._calls.call("ecs", "DescribeTasks", {**self._where, "Tasks": self._arns})
            except CallFailed as failed:
                failures += 1
                if failures > FAILED_LOOKS_MAX:
                    raise named("ecs", failed, is_sdk=False) from failed
                await self._clock.sleep(POLL_S)
                continue
            failures = 0
            tasks = answer.output.get("Tasks") or []
            if answer.output.get("Failures"):
                raise StateFailed("AmazonECS.Unknown", dump({"Failures": answer.output["Failures"]}))
            if tasks and all(task.get("LastStatus") == STOPPED for task in tasks):
                self.is_over = True
                return _finished(tasks)
            await self._clock.sleep(POLL_S)

    async def stop(self) -> None:
        for arn in self._arns:
            reason = {"Task": arn, "Reason": "The Step Functions task was stopped"}
            await self._calls.call("ecs", "StopTask", {**self._where, **reason})


def _finished(tasks: list[dict[str, Any]]) -> Any:
    """Return the description of a stopped task. Raises StateFailed if a container did not exit with 0."""
    for task in tasks:
        codes = [container.get("ExitCode") for container in task.get("Containers") or ()]
        if task.get("StopCode") not in (None, "EssentialContainerExited") or any(code != 0 for code in codes):
            raise StateFailed(TASK_FAILED, dump(task))
    return tasks[0]
