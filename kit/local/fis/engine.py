"""Run one experiment: check lever and stop conditions, resolve targets, run actions by `startAfter`, undo.

Every change of an action is undone before the action ends, or before the experiment ends where the action asked for
that, whatever the reason of the end.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kit.local.fis import announcements, log_delivery
from kit.local.fis.actions import ACTIONS, UNDO, ActionContext
from kit.local.fis.collaborators import Collaborators
from kit.local.fis.disarm import is_disarmed
from kit.local.fis.errors import ConfigurationFailure, ExperimentFailure, InvalidTarget
from kit.local.fis.experiments import (
    CANCELLED,
    COMPLETED,
    FAILED,
    INITIATING,
    RUNNING,
    SKIPPED,
    STOPPED,
    STOPPING,
    ActionState,
    Experiment,
)
from kit.local.fis.journal import Entry, Journal
from kit.local.fis.targets import is_resolvable, resolve
from kit.local.fis.templates import alarm_arns, held_s

# The limit on one undo. A change that is not undone in time stays in the journal and is undone at the next start.
UNDO_S_MAX = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why an experiment ends before its actions are complete, and its final state."""

    status: str
    reason: str
    code: str = ""
    location: str = ""


STOPPED_BY_USER = Cause(status=STOPPED, reason="Experiment halted by user.")
STOPPED_BY_ALARM = Cause(status=STOPPED, reason="Experiment halted by stop condition.")
STOPPED_BY_LEVER = Cause(status=STOPPED, reason="Experiment halted by safety lever.")
STOPPED_BY_SHUTDOWN = Cause(status=STOPPED, reason="Experiment halted: the local AWS is stopping.")
CANCELLED_BY_LEVER = Cause(status=CANCELLED, reason="Experiment cancelled: the safety lever is engaged.")


class Run:
    """The run of one experiment."""

    def __init__(
        self,
        services: Collaborators,
        journal: Journal,
        experiment: Experiment,
        *,
        dice_seed: str,
        is_lever_engaged: Callable[[], bool],
    ) -> None:
        self.experiment = experiment
        self._services = services
        self._journal = journal
        self._dice_seed = dice_seed
        self._is_lever_engaged = is_lever_engaged
        self._cause: Cause | None = None
        self._ending = asyncio.Event()
        # Changes that outlive their action.
        self._kept: list[Entry] = []

    def end(self, cause: Cause) -> None:
        """Ask the run to end; the first cause wins. The undo of the actions follows after this returns."""
        if self._cause is not None or not self.experiment.is_active:
            return
        self._cause = cause
        self._ending.set()
        if cause.status == STOPPED:
            self._enter(STOPPING, "Stopping Experiment.")

    async def run(self) -> None:
        """Run the experiment to its end. Raises CancelledError only."""
        experiment = self.experiment
        self._enter(INITIATING, "Experiment is initiating.")
        experiment.started_at = time.time()
        try:
            if self._begin():
                await asyncio.gather(*(self._run_action(action) for action in experiment.actions.values()))
        except ExperimentFailure as failure:
            self.end(Cause(status=FAILED, reason=str(failure), code=failure.code, location="experiment"))
        except Exception as error:  # boundary: a defect of ours must fail the experiment visibly
            log.exception("fis experiment crashed", extra={"experiment": experiment.id})
            self.end(Cause(status=FAILED, reason=repr(error), code=ExperimentFailure.code, location="experiment"))
        finally:
            not_undone = await asyncio.shield(self._undo(self._kept))
        if not_undone is not None:
            # A fault that is still in force fails the experiment, whatever ended it.
            self._cause = Cause(status=FAILED, reason=str(not_undone), code=not_undone.code, location="experiment")
        self._finish()

    def _begin(self) -> bool:
        """Check the lever and the alarms, and resolve the targets. Returns False when there is nothing to run."""
        experiment = self.experiment
        if self._is_lever_engaged():
            self.end(CANCELLED_BY_LEVER)
            return False
        log_delivery.open_log(experiment)
        announcements.experiment_started(experiment)
        self._check_alarms()
        if self._cause is None:
            self._resolve()
        if self._cause is not None:
            return False
        if experiment.actions_mode == "skip-all":
            for action in experiment.actions.values():
                self._leave(action, SKIPPED, "Action was skipped: actionsMode is skip-all.")
            return False
        self._enter(RUNNING, "Experiment is running.")
        return True

    def _check_alarms(self) -> None:
        for arn in alarm_arns(self.experiment.template["stopConditions"]):
            state = self._services.alarms.state_of(arn)
            if state is None:
                raise ConfigurationFailure(f"stop condition: alarm {arn} does not exist")
            if state == "ALARM":
                self.end(STOPPED_BY_ALARM)

    def _resolve(self) -> None:
        experiment = self.experiment
        skips_empty = experiment.template["experimentOptions"]["emptyTargetResolutionMode"] == "skip"
        announcements.target_resolution_started(experiment)
        for name, target in experiment.template["targets"].items():
            # A type that the local AWS lacks belongs to an action that it lacks, and that action fails with its reason.
            if not is_resolvable(target):
                continue
            resolved = resolve(self._services.ecs, name, target, random.Random(f"{self._dice_seed}-{name}"))
            experiment.resolved.append(resolved)
            announcements.target_resolved(experiment, resolved)
            if not resolved.resources and not skips_empty:
                raise InvalidTarget(
                    f"Target resolution returned empty set: target {name}, {target['selectionMode']} of "
                    f"{resolved.matching} matching"
                )
        announcements.target_resolution_ended(experiment)

    async def _run_action(self, action: ActionState) -> None:
        try:
            for before in action.definition.get("startAfter") or ():
                await self._unless_ending(self.experiment.actions[before].done.wait())
            if self._cause is not None:
                self._leave(action, CANCELLED, "Action was cancelled.")
            elif self._has_empty_target(action):
                self._leave(action, SKIPPED, "Action was skipped: it has no targets.")
            else:
                await self._perform(action)
        finally:
            action.done.set()

    async def _perform(self, action: ActionState) -> None:
        context = ActionContext(
            services=self._services,
            journal=self._journal,
            experiment_id=self.experiment.id,
            action_name=action.name,
            targets=self.experiment.targets_of(action),
            kept=self._kept,
        )
        failure: ExperimentFailure | None = None
        try:
            await self._inject(action, context)
        except ExperimentFailure as error:
            failure = error
        except Exception as error:  # boundary: an action that crashes fails, and is undone too
            log.exception("fis action crashed", extra={"experiment": self.experiment.id, "action": action.name})
            failure = ExperimentFailure(repr(error))
        finally:
            if self._cause is not None or failure is not None:
                action.status, action.reason = STOPPING, "Action is stopping."
            not_undone = await asyncio.shield(self._undo(context.changes))
        failure = failure or not_undone
        if failure is not None:
            self._fail(action, failure)
        elif self._cause is not None:
            self._leave(action, STOPPED, "Action was stopped.")
        else:
            self._leave(action, COMPLETED, "Action was completed.")

    async def _inject(self, action: ActionState, context: ActionContext) -> None:
        action.status, action.reason = INITIATING, "Action is initiating."
        action.started_at = time.time()
        arns = {slot: [each.arn for each in resources] for slot, resources in context.targets.items()}
        announcements.action_started(self.experiment, action, arns)
        action_type = ACTIONS.get(action.definition["actionId"])
        if action_type is None:
            raise ConfigurationFailure(f"{action.definition['actionId']} is not supported by the local AWS")
        fault = action_type.parse(action.definition.get("parameters") or {})
        action.status, action.reason = RUNNING, "Action is running."
        until = time.monotonic() + held_s(action.definition)
        if is_disarmed(self._services.state_dir, action.definition["actionId"]):
            log.warning("fis action disarmed", extra={"experiment": self.experiment.id, "action": action.name})
        else:
            await self._unless_ending(fault.start(context))
        # Timers of the loop have a resolution of 1 ms and may fire early; the action must not end early.
        while not self._ending.is_set() and (left_s := until - time.monotonic()) > 0:
            await self._unless_ending(asyncio.sleep(left_s))

    async def _unless_ending(self, step: Awaitable[object]) -> None:
        """Await the step, but cancel it as soon as the experiment is ending."""
        doing, ending = asyncio.ensure_future(step), asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait({doing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                doing.result()
        finally:
            for each in (doing, ending):
                each.cancel()
            # A cancelled step must have finished before its changes are undone.
            await asyncio.gather(doing, ending, return_exceptions=True)

    async def _undo(self, changes: list[Entry]) -> ExperimentFailure | None:
        failed = None
        for entry in reversed(changes):
            failed = await undo(self._services, self._journal, entry) or failed
        return failed

    def _has_empty_target(self, action: ActionState) -> bool:
        names = set((action.definition.get("targets") or {}).values())
        return any(target.name in names and not target.resources for target in self.experiment.resolved)

    def _fail(self, action: ActionState, failure: ExperimentFailure) -> None:
        announcements.action_failed(self.experiment, action, code=failure.code, reason=str(failure))
        self._leave(action, FAILED, str(failure))
        reason = f"Action {action.name} failed: {failure}"
        self.end(Cause(status=FAILED, reason=reason, code=failure.code, location=f"action/{action.name}"))

    def _leave(self, action: ActionState, status: str, reason: str) -> None:
        action.status, action.reason = status, reason
        if action.started_at is not None:
            action.ended_at = time.time()
            announcements.action_ended(self.experiment, action)
        action.done.set()

    def _finish(self) -> None:
        experiment, cause = self.experiment, self._cause
        for action in experiment.actions.values():
            if action.started_at is None and action.status not in (SKIPPED, CANCELLED):
                self._leave(action, CANCELLED, "Action was cancelled.")
        experiment.ended_at = time.time()
        if cause is None:
            self._enter(COMPLETED, "Experiment completed.")
        else:
            if cause.code:
                account = experiment.account_id
                experiment.error = {"code": cause.code, "location": cause.location, "accountId": account}
            self._enter(cause.status, cause.reason)
        announcements.experiment_ended(experiment)

    def _enter(self, status: str, reason: str) -> None:
        old_status = self.experiment.status
        self.experiment.status, self.experiment.reason = status, reason
        announcements.experiment_changed(self.experiment, old_status)


async def undo(services: Collaborators, journal: Journal, entry: Entry) -> ExperimentFailure | None:
    """Undo one change and remove it from the journal. A failure is returned, and the change stays in the journal."""
    try:
        await asyncio.wait_for(UNDO[entry.kind](services, entry), UNDO_S_MAX)
    except Exception as error:  # boundary: a failed undo must not prevent the others
        log.exception("fis undo failed", extra={"kind": entry.kind, "data": entry.data})
        return ExperimentFailure(f"undo of {entry.kind} failed: {error!r}")
    journal.forget(entry)
    return None
