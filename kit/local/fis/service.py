"""The FIS of one local cloud: its stores, its lever, its running experiments, and its life.

Owns what the API reads and changes; the API itself is `operations.py`, running one experiment is `engine.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ministack import app
from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region, request_scope
from ministack.services import stepfunctions

from kit.local.fis import cloudformation, operations, wire
from kit.local.fis.actions import UNDO, lambda_faults
from kit.local.fis.engine import (
    STOPPED_BY_ALARM,
    STOPPED_BY_LEVER,
    STOPPED_BY_SHUTDOWN,
    Cause,
    Run,
    undo,
)
from kit.local.fis.errors import Conflict, FisError, InvalidRequest, NotFound, QuotaExceeded
from kit.local.fis.experiments import Experiment
from kit.local.fis.journal import Journal
from kit.local.fis.store import Store
from kit.local.fis.templates import TEMPLATES_MAX, Template, alarm_arns

if TYPE_CHECKING:
    from kit.local.cloud import Cloud

ACTIVE_EXPERIMENTS_MAX = 5
# History is kept for 120 days on AWS; a local cloud keeps this many experiments.
EXPERIMENTS_KEPT_MAX = 1_000
CLIENT_TOKENS_KEPT_MAX = 10_000
# The server gives each part three seconds to stop; undo comes first.
STOP_S_MAX = 2.5

log = logging.getLogger(__name__)


class Fis:
    """AWS Fault Injection Service."""

    def __init__(self, seed: int) -> None:
        self.templates: AccountRegionScopedDict = AccountRegionScopedDict()
        self.experiments: AccountRegionScopedDict = AccountRegionScopedDict()
        self.target_accounts: AccountRegionScopedDict = AccountRegionScopedDict()
        self._levers: AccountRegionScopedDict = AccountRegionScopedDict()
        self._tokens: dict[tuple[str, ...], tuple[str, str]] = {}
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._seed = seed
        self._started = 0
        self._cloud: Cloud | None = None
        self._journal: Journal | None = None
        self._store: Store | None = None
        self._unhook: list[Callable[[], object]] = []

    async def start(self, cloud: Cloud) -> None:
        """Undo what a killed predecessor left, then serve."""
        self._cloud = cloud
        self._journal = Journal(cloud.state_dir)
        for entry in self._journal.load():
            if entry.kind in UNDO:
                await undo(cloud, self._journal, entry)
        self._load(cloud)
        self._loop = asyncio.get_running_loop()
        self._unhook = [cloud.alarms.subscribe(self._on_alarm), *cloudformation.hook(self), lambda_faults.hook()]
        app.SERVICE_HANDLERS["fis"] = self.handle
        stepfunctions._AWS_SDK_SERVICE_MAP["fis"] = {"protocol": "rest-json", "service_key": "fis"}
        stepfunctions._REST_JSON_ACTION_PATHS["fis"] = {"StartExperiment": "/experiments"}

    async def stop(self) -> None:
        """Stop every experiment, wait (bounded) until its faults are undone."""
        running = [task for _, task in self._runs.values()]
        for run, _ in list(self._runs.values()):
            run.end(STOPPED_BY_SHUTDOWN)
        if running:
            _, late = await asyncio.wait(running, timeout=STOP_S_MAX)
            for task in late:
                task.cancel()
        app.SERVICE_HANDLERS.pop("fis", None)
        stepfunctions._AWS_SDK_SERVICE_MAP.pop("fis", None)
        stepfunctions._REST_JSON_ACTION_PATHS.pop("fis", None)
        for unhook in reversed(self._unhook):
            unhook()
        self._unhook = []

    async def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: Mapping[str, Any]
    ) -> wire.Reply:
        """One request, as MiniStack hands it over."""
        try:
            operation, request = wire.read(method, path, body, query_params)
            reply = wire.answer(operations.OPERATIONS[operation](self, request))
            if method != "GET":
                self._save()
            return reply
        except FisError as error:
            return wire.refuse(error)

    # What outlives the server

    def save_soon(self) -> None:
        """For changes in a worker thread: CloudFormation's."""
        self._loop.call_soon_threadsafe(self._save)

    def _load(self, cloud: Cloud) -> None:
        self._store = Store(cloud.state_dir)
        for name, scoped in self._store.load_settings().items():
            self._settings()[name]._data.update(scoped)
        for experiment in self._store.load_experiments(EXPERIMENTS_KEPT_MAX):
            self.experiments._data[(experiment.account_id, experiment.region, experiment.id)] = experiment
        for lever in self._levers._data.values():
            # Nothing runs that an engaging lever would still have to stop.
            if lever["state"]["status"] == "engaging":
                lever["state"]["status"] = "engaged"

    def _save(self) -> None:
        assert self._store is not None
        self._store.save_settings({name: dict(scoped._data) for name, scoped in self._settings().items()})

    def _settings(self) -> dict[str, AccountRegionScopedDict]:
        return {"templates": self.templates, "target_accounts": self.target_accounts, "levers": self._levers}

    # Templates

    def template(self, template_id: str) -> Template:
        """The template, or NotFound."""
        template = self.templates.get(template_id)
        if template is None:
            raise NotFound.for_id("Experiment template", template_id)
        return template

    def add_template(self, template: Template) -> Template:
        """Store a new template within the quota."""
        if len(self.templates) >= TEMPLATES_MAX:
            raise QuotaExceeded.for_quota("experiment templates", len(self.templates) + 1, TEMPLATES_MAX)
        self.templates[template["id"]] = template
        return template

    # Experiments

    def experiment(self, experiment_id: str) -> Experiment:
        """The experiment, or NotFound."""
        experiment = self.experiments.get(experiment_id)
        if experiment is None:
            raise NotFound.for_id("Experiment", experiment_id)
        return experiment

    def launch(self, template: Template, *, actions_mode: str, tags: Mapping[str, str]) -> Experiment:
        """Start an experiment; it has begun to run when this returns."""
        assert self._cloud is not None and self._journal is not None
        if template["experimentOptions"]["accountTargeting"] != "single-account":
            raise InvalidRequest(
                f"template {template['id']} targets several accounts; the local AWS runs single-account ones only"
            )
        active = sum(each.is_active for each in self.experiments.values())
        if active >= ACTIVE_EXPERIMENTS_MAX:
            raise QuotaExceeded.for_quota("active experiments", active + 1, ACTIVE_EXPERIMENTS_MAX)
        experiment = Experiment.of(template, actions_mode=actions_mode, tags=tags)
        self._make_room()
        self.experiments[experiment.id] = experiment
        self._started += 1
        # Not the experiment's id: it is made up, and the same seed must choose the same targets.
        run = Run(
            self._cloud,
            self._journal,
            experiment,
            dice_seed=f"fis-{self._seed}-{self._started}",
            is_lever_engaged=lambda: self.lever()["state"]["status"] != "disengaged",
        )
        task = asyncio.get_running_loop().create_task(run.run(), name=f"fis-{experiment.id}")
        self._runs[experiment.id] = (run, task)
        task.add_done_callback(lambda _: self._ended(experiment))
        self._record(experiment)
        return experiment

    def _ended(self, experiment: Experiment) -> None:
        self._runs.pop(experiment.id, None)
        self._record(experiment)

    def _record(self, experiment: Experiment) -> None:
        assert self._store is not None
        self._store.save_experiment(experiment)

    def end(self, experiment_id: str, cause: Cause) -> None:
        """Ask a running experiment to end."""
        run = self._runs.get(experiment_id)
        if run is not None:
            run[0].end(cause)

    def _make_room(self) -> None:
        ended = [each for each in self.experiments.values() if not each.is_active]
        for experiment in ended[: max(0, len(self.experiments) + 1 - EXPERIMENTS_KEPT_MAX)]:
            self.experiments.pop(experiment.id, None)

    def _on_alarm(self, arn: str, old_state: str, new_state: str) -> None:
        if new_state != "ALARM":
            return
        # CloudFormation changes alarms from worker threads; runs belong to the loop.
        self._loop.call_soon_threadsafe(self._end_guarded_by, arn)

    def _end_guarded_by(self, arn: str) -> None:
        for run, _ in list(self._runs.values()):
            if arn in alarm_arns(run.experiment.template["stopConditions"]):
                log.warning("fis stop condition", extra={"experiment": run.experiment.id, "alarm": arn})
                with request_scope(run.experiment.account_id, run.experiment.region):
                    run.end(STOPPED_BY_ALARM)

    # Safety lever

    def lever(self) -> dict[str, Any]:
        """The lever of the caller's account and region."""
        lever = self._levers.get("default")
        if lever is None:
            arn = f"arn:aws:fis:{get_region()}:{get_account_id()}:safety-lever/default"
            state = {"status": "disengaged", "reason": "Initial state"}
            lever = self._levers["default"] = {"id": "default", "arn": arn, "state": state}
        return lever

    def move_lever(self, status: str, reason: str) -> dict[str, Any]:
        """Engage (stops what runs, and is `engaging` until all of that is undone) or disengage."""
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
        """Make something once a client token; the same token with another request is a Conflict."""
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
