"""Keep templates, experiments, target accounts and safety levers; start and end experiments."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region, request_scope

from kit.local.fis.collaborators import Collaborators
from kit.local.fis.engine import STOPPED_BY_ALARM, STOPPED_BY_LEVER, STOPPED_BY_SHUTDOWN, Cause, Run
from kit.local.fis.errors import Conflict, InvalidRequest, NotFound, QuotaExceeded
from kit.local.fis.experiments import Experiment
from kit.local.fis.journal import Journal
from kit.local.fis.store import Store
from kit.local.fis.templates import TEMPLATES_MAX, Template, alarm_arns, arn_of

ACTIVE_EXPERIMENTS_MAX = 5
# AWS keeps the history for 120 days; a local cloud keeps this many experiments.
EXPERIMENTS_KEPT_MAX = 1_000
CLIENT_TOKENS_KEPT_MAX = 10_000
# The tag of a template that belongs to a stack.
STACK_ID = "aws:cloudformation:stack-id"

log = logging.getLogger(__name__)


class ControlPlane:
    """The state behind the API. Templates, experiments and levers belong to an account and a Region."""

    def __init__(self, services: Collaborators, journal: Journal) -> None:
        self.templates = AccountRegionScopedDict()
        self.experiments = AccountRegionScopedDict()
        self.target_accounts = AccountRegionScopedDict()
        self._levers = AccountRegionScopedDict()
        self._tokens: dict[tuple[str, ...], tuple[str, str]] = {}
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._started = 0
        self._services = services
        self._journal = journal
        self._store = Store(services.kept_dir)

    def load(self) -> None:
        """Read what a former process saved."""
        for name, scoped in self._store.load_settings().items():
            self._settings()[name]._data.update(scoped)
        for key in [key for key, template in self.templates._data.items() if STACK_ID in template["tags"]]:
            # Stacks do not outlive the server. Their templates would stay for ever, because nothing deletes them.
            del self.templates._data[key]
            self.target_accounts._data.pop(key, None)
        for experiment in self._store.load_experiments(EXPERIMENTS_KEPT_MAX):
            self.experiments._data[(experiment.account_id, experiment.region, experiment.id)] = experiment
        for lever in self._levers._data.values():
            # A lever that was engaging when the server ended is engaged now, because no experiment outlives its server.
            if lever["state"]["status"] == "engaging":
                lever["state"]["status"] = "engaged"

    def save(self) -> None:
        """Write templates, target accounts and levers."""
        self._store.save_settings({name: dict(scoped._data) for name, scoped in self._settings().items()})

    def _settings(self) -> dict[str, AccountRegionScopedDict]:
        return {"templates": self.templates, "target_accounts": self.target_accounts, "levers": self._levers}

    # Templates

    def template(self, template_id: str) -> Template:
        """Return the template. Raises NotFound."""
        template = self.templates.get(template_id)
        if template is None:
            raise NotFound.for_id("Experiment template", template_id)
        return template

    def add_template(self, template: Template) -> Template:
        """Store a new template. Raises QuotaExceeded."""
        if len(self.templates) >= TEMPLATES_MAX:
            raise QuotaExceeded.for_quota("experiment templates", len(self.templates) + 1, TEMPLATES_MAX)
        return self.replace_template(template)

    def replace_template(self, template: Template) -> Template:
        """Store a template under its id."""
        self.templates[template["id"]] = template
        self.save()
        return template

    def remove_template(self, template_id: str) -> None:
        """Forget a template and its target accounts."""
        self.templates.pop(template_id, None)
        self.target_accounts.pop(template_id, None)
        self.save()

    # Experiments

    def experiment(self, experiment_id: str) -> Experiment:
        """Return the experiment. Raises NotFound."""
        experiment = self.experiments.get(experiment_id)
        if experiment is None:
            raise NotFound.for_id("Experiment", experiment_id)
        return experiment

    def start_experiment(self, template: Template, *, actions_mode: str, tags: Mapping[str, str]) -> Experiment:
        """Start an experiment; its task is scheduled when this returns. Raises InvalidRequest, QuotaExceeded."""
        if template["experimentOptions"]["accountTargeting"] != "single-account":
            raise InvalidRequest(
                f"template {template['id']} targets several accounts; the local AWS runs single-account ones only"
            )
        active = sum(each.is_active for each in self.experiments.values())
        if active >= ACTIVE_EXPERIMENTS_MAX:
            raise QuotaExceeded.for_quota("active experiments", active + 1, ACTIVE_EXPERIMENTS_MAX)
        experiment = Experiment.of(template, actions_mode=actions_mode, tags=tags)
        self._forget_oldest()
        self.experiments[experiment.id] = experiment
        self._started += 1
        run = Run(
            self._services,
            self._journal,
            experiment,
            # A count instead of the random experiment id: the same seed must choose the same targets.
            dice_seed=f"fis-{self._services.seed}-{self._started}",
            is_lever_engaged=lambda: self.lever()["state"]["status"] != "disengaged",
        )
        task = asyncio.get_running_loop().create_task(run.run(), name=f"fis-{experiment.id}")
        self._runs[experiment.id] = (run, task)
        task.add_done_callback(lambda _: self._ended(experiment))
        self._store.save_experiment(experiment)
        return experiment

    def end_experiment(self, experiment_id: str, cause: Cause) -> None:
        """Ask an experiment to end. An experiment that does not run is not changed."""
        run = self._runs.get(experiment_id)
        if run is not None:
            run[0].end(cause)

    async def shut_down(self, timeout_s: float) -> None:
        """End every experiment, and wait until their faults are undone, at most for `timeout_s`."""
        running = list(self._runs.values())
        for run, _ in running:
            run.end(STOPPED_BY_SHUTDOWN)
        if running:
            _, late = await asyncio.wait([task for _, task in running], timeout=timeout_s)
            for task in late:
                task.cancel()

    def end_guarded_by(self, alarm_arn: str) -> None:
        """End the experiments that have the alarm as a stop condition."""
        for run, _ in list(self._runs.values()):
            if alarm_arn in alarm_arns(run.experiment.template["stopConditions"]):
                log.warning("fis stop condition", extra={"experiment": run.experiment.id, "alarm": alarm_arn})
                with request_scope(run.experiment.account_id, run.experiment.region):
                    run.end(STOPPED_BY_ALARM)

    def _ended(self, experiment: Experiment) -> None:
        self._runs.pop(experiment.id, None)
        self._store.save_experiment(experiment)

    def _forget_oldest(self) -> None:
        ended = [each for each in self.experiments.values() if not each.is_active]
        for experiment in ended[: max(0, len(self.experiments) + 1 - EXPERIMENTS_KEPT_MAX)]:
            self.experiments.pop(experiment.id, None)

    # Safety lever

    def lever(self) -> dict[str, Any]:
        """Return the lever of the caller's account and Region."""
        lever = self._levers.get("default")
        if lever is None:
            state = {"status": "disengaged", "reason": "Initial state"}
            lever = self._levers["default"] = {
                "id": "default", "arn": arn_of("safety-lever", "default"), "state": state,
            }  # fmt: skip
        return lever

    def move_lever(self, status: str, reason: str) -> dict[str, Any]:
        """Engage or disengage it. While the experiments that it stops are undone, it is `engaging`. Raises Conflict."""
        lever = self.lever()
        if lever["state"]["status"] == "engaging":
            raise Conflict("the safety lever is engaging; wait until it is engaged")
        lever["state"] = {"status": status, "reason": reason}
        if status == "engaged":
            tasks = self._end_all_here()
            if tasks:
                lever["state"]["status"] = "engaging"
                self._settling = asyncio.get_running_loop().create_task(self._settle(lever, tasks))
        return lever

    def _end_all_here(self) -> list[asyncio.Task[None]]:
        here = (get_account_id(), get_region())
        found = [
            (run, task)
            for run, task in self._runs.values()
            if (run.experiment.account_id, run.experiment.region) == here
        ]
        for run, _ in found:
            run.end(STOPPED_BY_LEVER)
        return [task for _, task in found]

    async def _settle(self, lever: dict[str, Any], tasks: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(tasks)
        lever["state"]["status"] = "engaged"

    # Client tokens

    def once(self, operation: str, request: Mapping[str, Any], make: Callable[[], str]) -> str:
        """Make something once per client token. Raises Conflict for the same token with another request."""
        token = request.get("clientToken")
        if not token:
            return make()
        key = (get_account_id(), get_region(), operation, token)
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        known = self._tokens.get(key)
        if known is not None:
            if known[0] != digest:
                raise Conflict(f"clientToken {token} was used with other parameters")
            return known[1]
        made = make()
        if len(self._tokens) >= CLIENT_TOKENS_KEPT_MAX:
            self._tokens.pop(next(iter(self._tokens)))
        self._tokens[key] = (digest, made)
        return made
