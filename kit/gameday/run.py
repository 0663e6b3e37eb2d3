"""The run itself: one method a stage, in the order of a game day; what a notebook holds.

Owns the lifetimes of the local AWS, the stack, the load and the fault: whatever ends the run ends them. A stage that
cannot work leaves a finding and the later stages still run as far as they make sense, so that the verdict cell always
has something true to say.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kit import aws, build, deploy, faults, gate, ledger, metrics, scenarios, scraps
from kit.errors import EvidenceMissing, FaultError, KitError
from kit.gameday import judge, views
from kit.gameday.operate import start_watchdog
from kit.gameday.parameters import CHANGES, SOURCE, Parameters
from kit.load import history as load_history
from kit.load.plan import LoadPlan
from kit.load.runner import LoadRun
from kit.model import CheckKind, Deployment, FaultWindow, Finding, Phase, Status, Verdict

TEMPLATE = SOURCE / "deploy" / "stack.yaml"
DEPLOY_TIMEOUT_S = 900
TEAR_DOWN_TIMEOUT_S = 900
LOAD_FINISH_TIMEOUT_S = 60
QUIESCE_TIMEOUT_S = 30
# After its duration an experiment may need this long for its undo and its last state.
EXPERIMENT_SLACK_S = 60
# The load's first seconds are connection set-up and cold caches; no phase counts them.
WARM_UP_S = 3.0
TICK_S = 1.0
# How long tasks and targets may take to settle after the recovery phase before they count as not healed.
HEAL_TIMEOUT_S = 20


class VerdictNotPass(KitError):
    """Raised by the last cell, after the scraps, so that a headless run ends with a non-zero exit code."""


class GameDay:
    """One run. Make it with `begin`; call the stages in the order in which they stand here."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.scenario = scenarios.get(parameters.scenario)
        self.run_dir = parameters.run_dir
        self.started_at = time.time()
        self.findings: list[Finding] = []
        self.deployment: Deployment | None = None
        self.build_digest = ""
        self.load: LoadRun | None = None
        self.load_started_at = 0.0
        self.load_ended_at = 0.0
        self.fault: FaultWindow | None = None
        self.collected: judge.Collected | None = None
        self._cloud: aws.LocalCloud | None = None
        self._watch: metrics.TaskWatch | None = None
        self._watchdog: Any = None
        self._state_dir: Path | None = None
        self._blocked = ""
        self._closed = False

    @classmethod
    def begin(cls, scenario: str, **parameters: Any) -> GameDay:
        """Check the parameters and take the run's folder; nothing is started yet. Raises UsageError."""
        plan = Parameters(scenario=scenario, **parameters)
        headless = bool(os.environ.get("GAMEDAY_HEADLESS"))
        if not headless:
            plan.preflight()
        plan.run_dir.mkdir(parents=True, exist_ok=True)
        day = cls(plan)
        atexit.register(day.close)
        if not headless:
            day._watchdog = start_watchdog(plan)
        return day

    def deploy(self) -> None:
        """Start the local AWS if the target is one, build the image, bring the stack up, wait until it is ready."""
        self._say(f"run {self.parameters.run_id}")
        self._start_cloud()
        session = self._session()
        image = build.build_image(session, source=SOURCE, change=self.parameters.change or None, changes_dir=CHANGES)
        self.build_digest = image.digest
        self._say(f"image {image.digest[:19]}" + (f" with {image.change}" if image.change else ""))
        self.deployment = deploy.deploy(
            session,
            image_uri=image.uri,
            run_id=self.parameters.run_id,
            template=TEMPLATE,
            parameters=self.scenario.stack_parameters(self.parameters.fault_duration_s),
            timeout_s=DEPLOY_TIMEOUT_S,
        )
        self._watch = metrics.TaskWatch.start(session, self.deployment)
        self._say(f"stack {self.deployment.stack_name} is up at {self.deployment.api_url}")
        views.show_table(self._watch.table())

    def steady_state(self) -> None:
        """Start the load and check that the hypothesis holds before anything is broken."""
        deployment = self._deployment()
        p = self.parameters
        plan = LoadPlan(
            api_url=deployment.api_url,
            seed=p.seed,
            rate_per_s=p.rate_per_s,
            clients=p.clients,
            markets=tuple(deployment.outputs["Markets"].split(",")),
            duration_max_s=p.steady_s + p.fault_duration_s + p.recovery_s + 2 * EXPERIMENT_SLACK_S,
            **self.scenario.load,
        )
        self.load = LoadRun.start(plan, self.run_dir / "history")
        self.load_started_at = time.time()
        self._follow(until=self.load_started_at + WARM_UP_S + p.steady_s)
        found = judge.hypothesis(self.run_dir / "history", self._phase_before(time.time()), self.scenario)
        self.findings += found
        broken = [finding for finding in found if finding.status is not Status.PASS]
        if broken:
            self._blocked = f"steady state does not hold: {broken[0].detail}"
        views.show_findings(found)
