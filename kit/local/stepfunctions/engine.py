"""Start executions, run them as tasks of the event loop, and stop them."""

from __future__ import annotations

import asyncio
import functools
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kit.local.stepfunctions.clocks import Clock
from kit.local.stepfunctions.errors import ApiError
from kit.local.stepfunctions.executions import RUNNING, Execution
from kit.local.stepfunctions.language import state_machine
from kit.local.stepfunctions.language.json_values import PAYLOAD_BYTES_MAX, dump, parse_json, size_bytes
from kit.local.stepfunctions.machines import EXPRESS, STANDARD, Machines, Revision, check_name
from kit.local.stepfunctions.states import simple_states
from kit.local.stepfunctions.states.history import Event
from kit.local.stepfunctions.states.interpreter import Interpreter
from kit.local.stepfunctions.states.map_run import MapRun
from kit.local.stepfunctions.states.map_runs import MapRuns
from kit.local.stepfunctions.states.map_state import MapState
from kit.local.stepfunctions.states.parallel_state import ParallelState
from kit.local.stepfunctions.states.task_state import TaskState
from kit.local.stepfunctions.tasks.activities import Activities
from kit.local.stepfunctions.tasks.callbacks import Callbacks
from kit.local.stepfunctions.tasks.followed_jobs import Jobs, NestedExecution
from kit.local.stepfunctions.tasks.integrations import Integrations
from kit.local.stepfunctions.tasks.sdk_calls import SdkCalls

RUNNING_MAX = 10_000
# Ended executions that can still be described; the oldest are forgotten first.
ENDED_KEPT_MAX = 2_000
# Events of ended executions that are kept, each of about 1 kB.
EVENTS_KEPT_MAX = 200_000
# Both are looked at after so many starts, because counting takes time.
FORGET_EVERY = 100
# The stops of jobs that are waited for when the service ends.
# The server gives a service three seconds.
STOP_S_MAX = 1.2

log = logging.getLogger(__name__)

# What is told to the rest of the cloud: an execution whose status has changed, or that has a new event.
StatusListener = Callable[[Execution], None]
EventListener = Callable[[Execution, Event], None]


class Engine:
    """The executions of one cloud, with everything that their states use."""

    def __init__(
        self, *, calls: SdkCalls, host: str, clock: Clock, on_status: StatusListener, on_event: EventListener
    ) -> None:
        self.clock = clock
        self.machines = Machines()
        self.activities = Activities()
        self.callbacks = Callbacks()
        self.map_runs = MapRuns(calls, clock.now)
        self.map_runs.run_child = self._run_child
        self._calls = calls
        self._on_status = on_status
        self._on_event = on_event
        self._executions: dict[str, Execution] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._express: set[Execution] = set()
        self._started = 0
        self._running = 0
        self._interpreter = self._compose(Integrations(calls, host))

    def _compose(self, integrations: Integrations) -> Interpreter:
        jobs = Jobs(integrations, self._calls, self.clock, self._start_nested, self._stop_nested)
        task = TaskState(
            integrations=integrations, jobs=jobs, callbacks=self.callbacks, activities=self.activities,
            in_background=self.in_background,
        )  # fmt: skip
        actions = dict(simple_states.ACTIONS) | {"Task": task.run}
        interpreter = Interpreter(actions)
        actions["Parallel"] = ParallelState(interpreter).run
        actions["Map"] = MapState(interpreter, self.map_runs, self._calls).run
        return interpreter

    # ---- executions

    def start(self, revision: Revision, name: str | None, text: str, trace_header: str | None = None) -> Execution:
        """Start an execution. Starting a running one again with the same input returns it. Raises ApiError."""
        given = read_input(text)
        name = check_name(name or str(uuid.uuid4()))
        arn = _execution_arn(revision, name)
        known = self._executions.get(arn)
        if known is not None:
            if known.is_running and dump(known.input) == dump(given):
                return known
            raise ApiError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        execution = Execution(
            arn=arn, name=name, revision=revision, machine=state_machine.cached(revision.definition), text=text,
            clock=self.clock, trace_header=trace_header, listener=self._on_event,
        )  # fmt: skip
        self._begin(execution)
        return execution

    def find(self, arn: str) -> Execution:
        """Return an execution. Raises ApiError."""
        found = self._executions.get(arn)
        if found is None:
            if ":express:" in arn:
                raise ApiError("InvalidArn", "Invalid Arn: 'Resource type not valid in this context: express'")
            raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return found

    def all(self) -> list[Execution]:
        """Return the executions that are kept, the newest first."""
        return list(self._executions.values())[::-1]

    async def stop(self, execution: Execution, error: str | None, cause: str | None) -> None:
        """Stop an execution and wait until its branches have ended."""
        execution.stop(error, cause)
        await execution.ended.wait()

    def stop_all_of(self, machine_arn: str) -> None:
        """Stop the executions of a machine that is deleted."""
        for execution in [*self._executions.values(), *self._express]:
            if execution.revision.arn == machine_arn:
                execution.stop(None, "The state machine was deleted")

    async def close(self) -> None:
        """Stop all executions, and wait for the stops of their jobs."""
        running = [each for each in (*self._executions.values(), *self._express) if each.is_running]
        for execution in running:
            execution.stop(None, "The local AWS has ended")
        tasks = [execution.task for execution in running if execution.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S_MAX)
        if self._background:
            await asyncio.wait(self._background, timeout=STOP_S_MAX)

    def in_background(self, work: Awaitable[None]) -> None:
        """Run a job's stop to its end, whatever becomes of the execution."""

        async def run() -> None:
            try:
                await work
            except Exception:  # boundary: a job that cannot be stopped must not harm anything else
                log.exception("job of a state could not be stopped")

        task = asyncio.ensure_future(run())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _begin(self, execution: Execution) -> None:
        if self._running >= RUNNING_MAX:
            raise ApiError("ExecutionLimitExceeded", f"Execution Limit Exceeded: '{RUNNING_MAX}'")
        if execution.is_express:
            self._express.add(execution)
        else:
            self._forget_oldest()
            self._executions[execution.arn] = execution
        if execution.map_run_arn is None:
            self._on_status(execution)
        self._running += 1
        execution.task = asyncio.create_task(execution.run(self._interpreter))
        # Not a `finally` of the task: a task that is cancelled before its first step runs nothing of its own.
        execution.task.add_done_callback(functools.partial(self._end, execution))

    def _end(self, execution: Execution, task: asyncio.Task[None]) -> None:
        self._running -= 1
        self._express.discard(execution)
        execution.end_unstarted()
        if not task.cancelled() and task.exception() is not None:
            # The execution has ended as failed; the defect is for the log.
            log.error("execution crashed", extra={"execution": execution.arn}, exc_info=task.exception())
        if execution.map_run_arn is None:
            self._on_status(execution)

    def _forget_oldest(self) -> None:
        self._started += 1
        if self._started % FORGET_EVERY:
            return
        ended = {arn: each for arn, each in self._executions.items() if each.status != RUNNING}
        events = sum(len(each.history.events) for each in ended.values())
        kept = len(ended)
        for arn, each in ended.items():
            if kept < ENDED_KEPT_MAX and events <= EVENTS_KEPT_MAX:
                return
            kept -= 1
            events -= len(each.history.events)
            del self._executions[arn]

    # ---- what states start

    async def _run_child(self, run: MapRun, index: int, given: Any) -> Execution:
        """Run one child execution of a distributed Map to its end."""
        parent = self._executions[run.execution_arn]
        kind = run.state.processor["ProcessorConfig"]["ExecutionType"]
        name = str(uuid.uuid4())
        revision = _child_revision(parent.revision, run, kind)
        child = Execution(
            arn=_execution_arn(revision, name), name=name, revision=revision, machine=run.state.inner[0],
            text=dump(given), clock=self.clock, map_run_arn=run.arn, map_item=index,
        )  # fmt: skip
        self._begin(child)
        try:
            await child.ended.wait()
        finally:
            child.stop(None, None)
        return child

    def _start_nested(self, parameters: Mapping[str, Any]) -> NestedExecution:
        arn, name = parameters.get("StateMachineArn"), parameters.get("Name")
        if not isinstance(arn, str):
            raise ApiError("InvalidArn", f"Invalid Arn: '{arn}'")
        given = parameters.get("Input")
        text = given if isinstance(given, str) else dump({} if given is None else given)
        return self.start(self.machines.resolve(arn), None if name is None else str(name), text)

    async def _stop_nested(self, nested: NestedExecution) -> None:
        if isinstance(nested, Execution):
            await self.stop(nested, None, "The execution that started this one has ended")


def read_input(text: str) -> Any:
    """Return the input of an execution. Raises ApiError."""
    if size_bytes(text) > PAYLOAD_BYTES_MAX:
        raise ApiError(
            "InvalidExecutionInput", f"Invalid State Machine Execution Input: more than {PAYLOAD_BYTES_MAX} bytes"
        )
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        raise ApiError("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'") from error


def _execution_arn(revision: Revision, name: str) -> str:
    if revision.kind == EXPRESS:
        return f"{revision.arn.replace(':stateMachine:', ':express:')}:{name}:{uuid.uuid4()}"
    return f"{revision.arn.replace(':stateMachine:', ':execution:')}:{name}"


def _child_revision(parent: Revision, run: MapRun, kind: str) -> Revision:
    """Return the revision of a Map's children, which has a name and an ARN of its own."""
    return Revision(
        arn=f"{parent.arn}/{run.label}", name=f"{parent.name}/{run.label}",
        kind=EXPRESS if kind == EXPRESS else STANDARD, role_arn=parent.role_arn, definition=parent.definition,
        logging=parent.logging, revision_id=parent.revision_id, updated_at=parent.updated_at, label=run.label,
    )  # fmt: skip
