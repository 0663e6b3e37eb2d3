"""Run a Task state: schedule its work, wait for it within the state's times, and record what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from kit.local.stepfunctions.clocks import TimeIsUp, cancel
from kit.local.stepfunctions.errors import DATA_LIMIT_EXCEEDED, RUNTIME, TIMEOUT, ApiError, StateFailed
from kit.local.stepfunctions.language.json_values import PAYLOAD_BYTES_MAX, dump, size_bytes
from kit.local.stepfunctions.language.state_machine import State
from kit.local.stepfunctions.states import data_flow
from kit.local.stepfunctions.states.branch import Branch, too_large
from kit.local.stepfunctions.states.data_flow import Outcome
from kit.local.stepfunctions.states.history import payload
from kit.local.stepfunctions.tasks import resources
from kit.local.stepfunctions.tasks.activities import Activities, ScheduledTask, schedule
from kit.local.stepfunctions.tasks.callbacks import Callbacks, HeartbeatMissed
from kit.local.stepfunctions.tasks.followed_jobs import Job, Jobs, started
from kit.local.stepfunctions.tasks.integrations import Integrations
from kit.local.stepfunctions.tasks.resources import ACTIVITY, CALLBACK, LAMBDA, REQUEST, SERVICE, Resource

T = TypeVar("T")
# Runs a coroutine to its end, whatever becomes of the execution.
InBackground = Callable[[Awaitable[None]], None]


@dataclass(frozen=True, slots=True)
class _Events:
    """The names of the events of a kind of task, and what all of them say."""

    prefix: str
    ids: dict[str, Any]
    name: str


class _NotSubmitted(StateFailed):
    """The call that begins a job or a callback has failed."""


class TaskState:
    """The action of Task states."""

    def __init__(
        self, *, integrations: Integrations, jobs: Jobs, callbacks: Callbacks, activities: Activities,
        in_background: InBackground,
    ) -> None:  # fmt: skip
        self._integrations = integrations
        self._jobs = jobs
        self._callbacks = callbacks
        self._activities = activities
        self._in_background = in_background

    async def run(self, branch: Branch, state: State, data: Any) -> Outcome:
        """Run one attempt."""
        resource = resources.parse(state.fields["Resource"])
        if resource is None:
            raise StateFailed(RUNTIME, f"{state.fields['Resource']} is not a resource", is_terminal=True)
        context = branch.context()
        is_token_known = resource.kind == ACTIVITY or resource.pattern != REQUEST
        branch.token = self._callbacks.new_token(context["Execution"]["Id"]) if is_token_known else None
        raw = data_flow.scope_of(branch, data)
        scope = data_flow.effective_input(state, raw)
        parameters = data_flow.arguments(state, scope)
        timeout_s = data_flow.number(state, scope, "TimeoutSeconds")
        heartbeat_s = data_flow.number(state, scope, "HeartbeatSeconds")
        work, events, details = self._work(branch, resource, parameters, heartbeat_s)
        times = {"timeoutInSeconds": timeout_s, "heartbeatInSeconds": heartbeat_s}
        if resource.kind == LAMBDA:
            del times["heartbeatInSeconds"]
        branch.record(f"{events.prefix}Scheduled", {**details, **times})
        result = await self._finish(branch, events, work(), timeout_s)
        return data_flow.finish(state, branch, raw, result)

    def _work(
        self, branch: Branch, resource: Resource, parameters: Any, heartbeat_s: int | None
    ) -> tuple[Callable[[], Awaitable[Any]], _Events, dict[str, Any]]:
        """Return what begins the work of a task, its events and the details of the first one."""
        text = dump(parameters)
        if resource.kind == LAMBDA:
            events = _Events("LambdaFunction", {}, resource.arn)
            details = {"resource": resource.arn, **payload("input", text)}
            return partial(self._invoke, branch, resource, parameters), events, details
        if resource.kind == ACTIVITY:
            events = _Events("Activity", {}, resource.arn)
            details = {"resource": resource.arn, **payload("input", text)}
            return partial(self._activity, branch, resource, text, heartbeat_s), events, details
        ids = {"resourceType": resource.type, "resource": resource.action}
        region = branch.context()["Execution"]["Id"].split(":")[3]
        events = _Events("Task", ids, resource.named)
        details = {**ids, "region": region, "parameters": text}
        return partial(self._service, branch, resource, parameters, heartbeat_s, ids), events, details

    async def _finish(self, branch: Branch, events: _Events, work: Awaitable[Any], timeout_s: int | None) -> Any:
        """Await the work and record how it ended. Raises StateFailed."""
        try:
            result = await branch.clock.within(timeout_s, work)
            text = dump(result)
            if size_bytes(text) > PAYLOAD_BYTES_MAX:
                raise StateFailed(DATA_LIMIT_EXCEEDED, too_large(events.name))
        except (TimeIsUp, HeartbeatMissed) as error:
            branch.record(f"{events.prefix}TimedOut", {**events.ids, "error": TIMEOUT})
            if isinstance(error, HeartbeatMissed):
                raise
            raise StateFailed(TIMEOUT, "") from error
        except StateFailed as failure:
            if not failure.is_terminal:
                kind = "SubmitFailed" if isinstance(failure, _NotSubmitted) else "Failed"
                branch.record(f"{events.prefix}{kind}", {**events.ids, "error": failure.name, "cause": failure.cause})
            raise
        branch.record(f"{events.prefix}Succeeded", {**events.ids, **payload("output", text)})
        return result

    async def _invoke(self, branch: Branch, resource: Resource, parameters: Any) -> Any:
        branch.record("LambdaFunctionStarted")
        return await self._integrations.invoke(resource.arn, parameters)

    async def _activity(self, branch: Branch, resource: Resource, text: str, heartbeat_s: int | None) -> Any:
        try:
            activity = self._activities.get(resource.arn)
        except ApiError as error:
            raise StateFailed(RUNTIME, str(error), is_terminal=True) from error
        token = branch.token or ""
        pending, task = self._callbacks.open(token), ScheduledTask(token=token, input=text)
        try:
            await schedule(activity, task)
            await task.taken.wait()
            branch.record("ActivityStarted", {"workerName": task.worker or None})
            return await pending.result(branch.clock, heartbeat_s)
        finally:
            task.is_cancelled = True
            self._callbacks.close(token)

    async def _service(
        self, branch: Branch, resource: Resource, parameters: Any, heartbeat_s: int | None, ids: dict[str, Any]
    ) -> Any:
        branch.record("TaskStarted", ids)
        if resource.pattern == REQUEST:
            return await self._request(resource, parameters)
        token = branch.token or ""
        pending = self._callbacks.open(token)
        try:
            if resource.pattern == CALLBACK:
                submitted = await _submitted(self._request(resource, parameters))
                branch.record("TaskSubmitted", {**ids, **payload("output", dump(submitted))})
                return await pending.result(branch.clock, heartbeat_s)
            job = await _submitted(self._submit(resource, parameters))
            try:
                branch.record("TaskSubmitted", {**ids, **payload("output", dump(job.submitted))})
                return await _first(job.wait(), pending.result(branch.clock, heartbeat_s))
            finally:
                # Nobody awaits the job any more: it was stopped, took too long, or its token was answered.
                if not job.is_over:
                    self._in_background(job.stop())
        finally:
            self._callbacks.close(token)

    async def _submit(self, resource: Resource, parameters: Any) -> Job:
        """Start a job. One that is started while the state is being stopped is stopped, too."""
        submitting = asyncio.ensure_future(self._jobs.submit(resource, parameters))
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            self._in_background(_stop_once_submitted(submitting))
            raise

    async def _request(self, resource: Resource, parameters: Any) -> Any:
        if resource.kind == SERVICE and resource.service == "stepfunctions":
            return started(self._jobs.start_nested(parameters))
        return await self._integrations.call(resource, parameters)


async def _submitted(work: Awaitable[T]) -> T:
    """Await the call that begins a job or a callback. Raises _NotSubmitted."""
    try:
        return await work
    except StateFailed as failure:
        raise _NotSubmitted(failure.name, failure.cause) from failure


async def _stop_once_submitted(submitting: asyncio.Future[Job]) -> None:
    try:
        job = await submitting
    except StateFailed:
        return  # There is nothing to stop.
    await job.stop()


async def _first(*works: Awaitable[Any]) -> Any:
    """Return the result of what ends first, and cancel the rest."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        await cancel(*tasks)
