"""Run one execution: the order of its steps, retries, time-outs, failures, cancellation, and repair after a kill.

The execution's record is written before each step acts.

A cancellation interrupts sleeps and polls at once. It does not interrupt a call that has begun, nor a step that puts
back what the automation changed (the steps after `onCancel`), because an interrupted repair would leave the change.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

from kit.local.ssm import references
from kit.local.ssm.api_calls import ApiCaller
from kit.local.ssm.errors import StepFailed, StepInputInvalid, StepTimedOut
from kit.local.ssm.executions import (
    CANCELLED,
    CANCELLING,
    COMPLETED_WITH_FAILURE,
    COMPLETED_WITH_SUCCESS,
    FAILED,
    IN_PROGRESS,
    SUCCESS,
    TIMED_OUT,
    Execution,
    StepRun,
)
from kit.local.ssm.journal import AutomationJournal
from kit.local.ssm.runbook import CONTINUE, Step
from kit.local.ssm.step_actions import ACTIONS, TIMEOUT_S, Outcome, StepContext

# A runbook whose steps form a loop ends after this many steps.
STEPS_RUN_MAX = 500
# The pause between two attempts of a step.
RETRY_PAUSE_S = 0.5
# AWS gives the steps of a cancellation two minutes.
CANCEL_S_MAX = 120.0

CANCEL, COMPLETE = "Cancel", "Complete"

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The execution is being stopped, so the present step ends."""


class ExecutionRunner:
    """The run of one execution."""

    def __init__(self, execution: Execution, caller: ApiCaller, journal: AutomationJournal) -> None:
        self.execution = execution
        self.ended = asyncio.Event()
        self._caller = caller
        self._journal = journal
        self._repair_steps = execution.runbook.repair_steps()
        self._stop = ""
        self._stopping = asyncio.Event()
        self._stop_handled = False
        self._deadline: float | None = None
        # The first failure of a critical step, which decides the final state.
        self._failure: tuple[str, str] | None = None

    def stop(self, kind: str) -> None:
        """Cancel the execution, or complete it after its present step. The first request wins."""
        if self._stop or not self.execution.is_active:
            return
        self._stop = kind
        self.execution.status = CANCELLING
        self._deadline = time.monotonic() + CANCEL_S_MAX
        self._stopping.set()

    async def run(self) -> None:
        """Run the execution to its end. Raises CancelledError only."""
        await self._run_from(self.execution.runbook.steps[0].name)

    async def repair(self, is_repairing: bool) -> None:
        """Put back what an execution changed whose server was killed in its current step, then end it as failed."""
        step = self.execution.runbook.step(self.execution.current)
        is_repairing = is_repairing or step.name in self._repair_steps
        if not is_repairing:
            self.execution.steps[step.name].end(CANCELLED, "the local AWS was killed")
        self._failure = (FAILED, f"the local AWS was killed in step {step.name}")
        self._stop, self._stop_handled = CANCEL, True
        self._deadline = time.monotonic() + CANCEL_S_MAX
        await self._run_from(step.name if is_repairing else step.cancel_step or step.failure_step)

    async def _run_from(self, name: str | None) -> None:
        execution = self.execution
        execution.status = CANCELLING if self._stop else IN_PROGRESS
        try:
            await self._run_steps(name)
        except StepFailed as error:
            self._failure = self._failure or (FAILED, str(error))
        except Exception as error:  # boundary: a defect of ours must end the execution as failed
            log.exception("automation crashed", extra={"execution": execution.id})
            self._failure = (FAILED, f"internal error: {error!r}")
        self._finish()

    async def _run_steps(self, name: str | None) -> None:
        with contextlib.suppress(StepInputInvalid):  # the step itself fails with a clear reason
            for_account = (self.execution.account, self.execution.region)
            await self._caller.create_clients(self.execution.runbook.services(), *for_account)
        for _ in range(STEPS_RUN_MAX):
            if name is None:
                return
            step = self.execution.runbook.step(name)
            name = self._handle_stop(step) if self._must_handle_stop(step) else await self._run_step(step)
        raise StepFailed(f"the runbook loops: {STEPS_RUN_MAX} steps were run")

    def _must_handle_stop(self, step: Step) -> bool:
        return bool(self._stop) and not self._stop_handled and step.name not in self._repair_steps

    def _handle_stop(self, step: Step) -> str | None:
        """Return the cancel step of the present or last step, which a cancelled execution runs next."""
        self._stop_handled = True
        last = self.execution.steps.get(self.execution.current)
        if self._stop == COMPLETE or last is None:
            return None
        return step.cancel_step or last.step.cancel_step

    async def _run_step(self, step: Step) -> str | None:
        """Run one step with its retries. Return the next step."""
        run = self.execution.steps[step.name]
        self.execution.current = step.name
        run.begin()
        try:
            await self._write_journal(step)
            outcome = await self._try_step(step, run)
        except Interrupted:
            run.end(CANCELLED)
            return self._handle_stop(step)
        except StepFailed as failure:
            status = TIMED_OUT if isinstance(failure, StepTimedOut) else FAILED
            run.end(status, str(failure), failure.kind)
            return self._after_failure(step, status, failure)
        run.outputs = dict(outcome.outputs)
        run.end(SUCCESS)
        return outcome.next_step or self.execution.runbook.following(step)

    async def _write_journal(self, step: Step) -> None:
        """Write the execution's record. A step fails without it, unless it puts a change back."""
        record = self.execution.record(step.name, is_repairing=self._stop_handled)
        try:
            # Syncing blocks, and the event loop serves the system under test, too.
            await asyncio.to_thread(self._journal.write, self.execution.id, record)
        except OSError as error:
            if step.name not in self._repair_steps:
                raise StepFailed(f"step {step.name} cannot be recorded: {error}") from error
            # A full disk must not prevent a repair.
            log.error("automation journal not written", extra={"execution": self.execution.id, "reason": str(error)})

    async def _try_step(self, step: Step, run: StepRun) -> Outcome:
        for attempt in range(1, step.attempts_max + 1):
            try:
                return await self._try_step_once(step, run)
            except StepInputInvalid:
                raise
            except StepFailed:
                if attempt == step.attempts_max:
                    raise
                await self._sleep(step, RETRY_PAUSE_S)
        raise AssertionError("attempts_max is at least 1")

    async def _try_step_once(self, step: Step, run: StepRun) -> Outcome:
        execution = self.execution
        try:
            run.inputs = references.resolve(dict(step.inputs), execution.value_of)
        except KeyError as error:
            raise StepInputInvalid(f"no step has produced the output {error}") from error

        async def call(service: str, api: str, arguments: Any) -> Any:
            return await self._caller.call(service, api, arguments, execution.account, execution.region)

        async def sleep(seconds: float) -> None:
            await self._sleep(step, seconds)

        limit_s = self._limit_s(step)
        try:
            async with asyncio.timeout(limit_s):
                return await ACTIONS[step.action](step, run.inputs, StepContext(call=call, sleep=sleep))
        except TimeoutError:
            raise StepTimedOut(f"{step.action} did not end within {limit_s:g} s") from None
        except (StepFailed, Interrupted):
            raise
        except Exception as error:  # boundary: a defect of ours fails the step, and the repair must still run
            log.exception("automation step crashed", extra={"execution": execution.id, "step": step.name})
            raise StepFailed(f"internal error: {error!r}") from error

    def _limit_s(self, step: Step) -> float | None:
        limits = [step.timeout_s or TIMEOUT_S.get(step.action)]
        if self._deadline is not None:
            limits.append(max(0.0, self._deadline - time.monotonic()))
        return min((limit for limit in limits if limit is not None), default=None)

    async def _sleep(self, step: Step, seconds: float) -> None:
        """Sleep at least this long. Raises Interrupted as soon as the execution is being stopped."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            if self._stop_handled or step.name in self._repair_steps:
                await asyncio.sleep(left_s)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), left_s)
            if self._stop:
                raise Interrupted

    def _after_failure(self, step: Step, status: str, failure: StepFailed) -> str | None:
        log.info(
            "automation step failed",
            extra={"execution": self.execution.id, "step": step.name, "reason": str(failure)},
        )
        if step.is_critical and self._failure is None:
            self._failure = (status, f"Step {step.name} failed: {failure}")
        if self._must_handle_stop(step):
            return self._handle_stop(step)
        if step.is_end:
            return None
        if step.failure_step:
            return step.failure_step
        return self.execution.runbook.following(step) if step.on_failure == CONTINUE else None

    def _finish(self) -> None:
        execution = self.execution
        execution.ended_at = time.time()
        status, execution.failure = self._failure or (SUCCESS, "")
        if self._stop == COMPLETE:
            status = COMPLETED_WITH_FAILURE if self._failure else COMPLETED_WITH_SUCCESS
        elif self._stop and not self._failure:
            status = CANCELLED
        execution.status = status
        try:
            self._journal.remove(execution.id)
        except OSError as error:  # the next start repairs again, which is safe
            log.error("automation journal not written", extra={"execution": execution.id, "reason": str(error)})
        self.ended.set()
