"""The run itself: one method a stage, in the order of a game day; what a notebook holds.

Owns the lifetimes of the local AWS, the stack, the load and the fault: whatever ends the run ends them. A stage that
cannot do its work leaves a finding, and the later stages still run as far as they make sense, so that the verdict
cell always has something true to say.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from kit import aws, build, collect, deploy, faults, scenarios, slo
from kit.collect import ledger
from kit.errors import EvidenceMissing, KitError
from kit.gameday import findings, golden_runs
from kit.gameday.commands import Watchdog, standing_cloud, start_watchdog
from kit.gameday.parameters import CHANGES, SOURCE, Parameters
from kit.gameday.phases import RunPhase, record_phase
from kit.load import History, LoadPlan, LoadRun, read_history
from kit.model import WARM_UP_S, Deployment, FaultWindow, Finding, LoadStats, Phase, Verdict
from kit.notebook import plots, scraps, views
from kit.process.machine import MachineWatch
from kit.verdict import gate

TEMPLATE = SOURCE / "deploy" / "stack.yaml"
DEPLOY_TIMEOUT_S = 900
TEAR_DOWN_TIMEOUT_S = 900
LOAD_FINISH_TIMEOUT_S = 60
QUIESCE_TIMEOUT_S = 40
TICK_S = 1.0
# After its duration an experiment may need this long for its undo and its last state.
EXPERIMENT_SLACK_S = 60


class VerdictNotPass(KitError):
    """Raised by the last cell, after the scraps, so that a headless run ends with a non-zero exit code."""


class GameDay:
    """One run. Make it with `begin`; call the stages in the order in which they stand here."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.scenario = scenarios.get(parameters.scenario)
        self.run_dir = parameters.run_dir
        self.started_at = time.time()
        self.build_digest = ""
        self.deployment: Deployment | None = None
        self.load: LoadRun | None = None
        self.stats: LoadStats | None = None
        self.load_started_at = 0.0
        self.load_ended_at = 0.0
        self.fault: FaultWindow | None = None
        self.collected: findings.Collected | None = None
        self.leftovers: list[str] = []
        self.findings: list[Finding] = []
        self._experiment: faults.Experiment | None = None
        self._cloud: aws.LocalCloud | None = None
        self._session: aws.Session | None = None
        self._tasks: collect.TaskWatch | None = None
        self._machine: MachineWatch | None = None
        self._watchdog = Watchdog(process=None)
        self._seen: list[dict[str, Any]] = []
        self._blocked = ""
        self._torn_down = False
        self._closed = False

    @classmethod
    def begin(cls, scenario: str, **parameters: Any) -> GameDay:
        """Check the parameters and take the run's folder; nothing is started yet. Raises UsageError."""
        plan = Parameters(scenario=scenario, **parameters)
        day = cls(plan)
        if not os.environ.get("GAMEDAY_HEADLESS"):
            # A headless run was checked, and is watched, by the command that started it.
            plan.preflight()
            day._watchdog = start_watchdog(plan)
        plan.run_dir.mkdir(parents=True, exist_ok=True)
        atexit.register(day.close)
        return day

    def deploy(self) -> None:
        """Start the local AWS if the target is one, build the image, bring the stack up, wait until it is ready."""
        record_phase(self.run_dir, RunPhase.DEPLOY)
        p = self.parameters
        session = self._connect()
        image = build.build_image(session, source=SOURCE, change=p.change or None, changes_dir=CHANGES)
        self.build_digest = image.digest
        views.say(f"run {p.run_id}: image {image.digest[:19]}" + (f" with change {p.change}" if p.change else ""))
        self.deployment = deploy.deploy(
            session,
            image_uri=image.uri,
            run_id=p.run_id,
            template=TEMPLATE,
            parameters=self.scenario.stack_parameters(fault_duration_s=p.fault_duration_s),
            timeout_s=DEPLOY_TIMEOUT_S,
        )
        views.say(f"stack {self.deployment.stack_name} is up at {self.deployment.api_url}")
        self._tasks = collect.TaskWatch.start(session, self.deployment)
        views.show_table(collect.task_table(session, self.deployment))

    def steady_state(self) -> None:
        """Start the load, and look whether the hypothesis holds before anything is broken."""
        deployment, p = self._up(), self.parameters
        record_phase(self.run_dir, RunPhase.STEADY_STATE)
        plan = LoadPlan(
            api_url=deployment.api_url,
            markets=tuple(deployment.outputs["Markets"].split(",")),
            # A prefix of keys and order ids; short, because people read them in counterexamples.
            run_id=p.run_id.rpartition("-")[2],
            seed=p.seed,
            rate_per_s=p.rate_per_s,
            clients=p.clients,
            duration_max_s=p.steady_s + p.fault_duration_s + p.recovery_s + 2 * EXPERIMENT_SLACK_S,
            **self.scenario.load,
        )
        standing = standing_cloud() if p.target == "local" else None
        self._machine = MachineWatch.start([standing.pid] if standing else ())
        self.load = LoadRun.start(plan, self.run_dir / "history")
        self.load_started_at = time.time()
        seen = self._follow("steady state", self.load_started_at + WARM_UP_S + p.steady_s)
        problems = findings.unsteady(seen[int(WARM_UP_S) :], self.scenario)
        self._blocked = "; ".join(problems)
        views.say(f"steady state does not hold: {self._blocked}" if problems else "steady state holds")

    def preview(self) -> None:
        """Let FIS resolve the targets without acting, and refuse any that are not this run's own."""
        targets = faults.preview(self._connect(), self._template(), self._up())
        views.show_table(findings.target_table(targets))

    def inject(self) -> None:
        """Start the experiment and follow it to its end; stops it if this is interrupted."""
        if self._blocked:
            views.say(f"nothing is injected: {self._blocked}")
            return
        session = self._connect()
        record_phase(self.run_dir, RunPhase.FAULT)
        self._experiment = faults.start(session, self._template(), self._up())
        live = views.Live()
        limit_s = self.parameters.fault_duration_s + EXPERIMENT_SLACK_S
        try:
            for state in faults.watch(session, self._experiment, timeout_s=limit_s):
                self._show(live, f"experiment {state.status}")
        except BaseException:
            # Ctrl-C in the cell, a kernel being shut down, a lost connection: the fault must not stay.
            faults.stop(session, self._experiment.id)
            raise

    def recover(self) -> None:
        """Keep the load on while the stack heals by itself."""
        record_phase(self.run_dir, RunPhase.RECOVERY)
        self._follow("recovery", time.time() + self.parameters.recovery_s)

    def reconcile(self) -> None:
        """Stop the load, re-ask what is unknown, let the matcher drain, read everything back, tear all down."""
        session, deployment = self._connect(), self._up()
        record_phase(self.run_dir, RunPhase.RECONCILE)
        self.load_ended_at = time.time()
        if self.load is not None:
            self.stats = self.load.finish(LOAD_FINISH_TIMEOUT_S)
        quiescence = ledger.quiesce(session, deployment, timeout_s=QUIESCE_TIMEOUT_S)
        history = read_history(self.run_dir / "history")
        self.fault = self._proof(history)
        self.collected = findings.collect(
            session,
            deployment,
            run_dir=self.run_dir,
            history=history,
            watch=self._watched(),
            quiescence=quiescence,
            fault=self.fault,
            start=self.load_started_at,
            end=self.load_ended_at,
        )
        views.show_table(findings.reconciliation_table(self.collected, self.stats))
        self._tear_down()

    def show_latency(self) -> None:
        """Latency percentiles of first attempts, by second."""
        limit = self.scenario.p95_limit_ms
        figure = plots.latency(self._judged().seconds, self._frame(), limit_ms=limit)
        scraps.glue_figure("latency", figure, alt="Latency percentiles by second, the fault shaded")

    def show_throughput(self) -> None:
        """Attempts by second and outcome."""
        figure = plots.throughput(self._judged().seconds, self._frame())
        scraps.glue_figure("throughput", figure, alt="Attempts a second by outcome, the fault shaded")

    def show_fills(self) -> None:
        """Orders and fills by second, and the time from an order to its first fill."""
        seen = self._judged()
        figure = plots.fills(seen.order_times, seen.fill_times, findings.first_fills(seen), self._frame())
        scraps.glue_figure("fills", figure, alt="Accepted orders and fills by second; time to first fill")

    def show_tasks(self) -> None:
        """Running tasks by zone."""
        figure = plots.tasks(self._judged().tasks, self._frame())
        scraps.glue_figure("tasks", figure, alt="Running tasks by zone, the fault shaded")

    def show_alarms(self) -> None:
        """The guardrail alarms' states."""
        figure = plots.alarms(self._judged().alarms, self._frame())
        scraps.glue_figure("alarms", figure, alt="State of each guardrail alarm over time")

    def check(self) -> None:
        """Judge orders, money, what clients saw, the fault and the load generator."""
        record_phase(self.run_dir, RunPhase.CHECK)
        found = findings.findings(
            self.collected,
            run_dir=self.run_dir,
            scenario=self.scenario,
            spans=self._phases(),
            fault=self.fault,
            stats=self.stats,
            leftovers=self.leftovers,
        )
        if self._machine is not None and self.collected is not None:
            attempts, spans = self.collected.history.attempts, self._phases()
            denied = slo.broken_by_denials(attempts, spans, self.scenario.objectives)
            found = findings.without_excuse(found, spans, self._machine.cores_left, denied=denied)
        self.findings = found
        views.show_findings(self.findings, stories=True)

    def verdict(self) -> None:
        """Glue the verdict, then raise VerdictNotPass unless it is PASS."""
        record_phase(self.run_dir, RunPhase.VERDICT)
        verdict, reasons = gate.judge(self.findings, self.fault, fault_expected=not self.scenario.breaks_nothing)
        p = self.parameters
        record = gate.record(
            run_id=p.run_id,
            scenario=p.scenario,
            build=self.build_digest,
            change=p.change,
            target=p.target,
            region=p.region,
            seed=p.seed,
            started_at=self.started_at,
            ended_at=time.time(),
            verdict=verdict,
            reasons=reasons,
            findings=self.findings,
            phases=self._phases(),
            fault=self.fault,
            load=self.stats,
            reproduce=p.reproduce,
        )
        scraps.glue("trend", findings.trend(record))
        if self.collected is not None:
            sample = golden_runs.sample(self.collected, self._phases(), p)
            scraps.glue(golden_runs.SAMPLE_SCRAP, sample.to_plain())
        scraps.glue(scraps.VERDICT_SCRAP, record)
        views.say(verdict.value)
        views.show_reasons(reasons)
        if verdict is not Verdict.PASS:
            raise VerdictNotPass(f"{verdict.value}: {reasons[0]}")

    def close(self) -> None:
        """End everything that this run started; safe to call at any time and more than once."""
        if not self._closed:
            self._closed = True
            self._tear_down()
            record_phase(self.run_dir, RunPhase.CLOSED)

    def _tear_down(self) -> None:
        if self._torn_down:
            return
        self._torn_down = True
        for name, end in self._endings():
            try:
                end()
            except KitError as error:
                self.leftovers.append(f"{name}: {error}")
                views.say(f"closing {name}: {error}")
        self._watchdog.close()

    def _endings(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """What to end, in order: the fault first, then what would notice, then the ground under it."""
        session, deployment, run_id = self._session, self.deployment, self.parameters.run_id
        if session and self._experiment:
            yield "fault", lambda: faults.stop_all(session, run_id)
        if self.load is not None:
            yield "load", self.load.close
        if self._machine is not None:
            yield "machine watch", self._machine.stop
        if self._tasks is not None:
            yield "task watch", self._tasks.stop
        if session and deployment:
            yield "stack", lambda: deploy.tear_down(session, deployment.stack_name, timeout_s=TEAR_DOWN_TIMEOUT_S)
            yield "leak check", lambda: self.leftovers.extend(deploy.find_stacks(session, run_id=run_id))
            yield "leak check", lambda: self.leftovers.extend(deploy.find_buckets(session, run_id=run_id))
        if self._cloud is not None:
            yield "local AWS", self._cloud.close

    def _connect(self) -> aws.Session:
        """The session of this run; starts the run's own local AWS where that is the target and none is up."""
        if self._session is None:
            p = self.parameters
            cloud = standing_cloud() if p.target == "local" else None
            if p.target == "local" and cloud is None:
                cloud = self._cloud = aws.start_local(port=p.port, seed=p.seed, region=p.region)
            self._session = cloud.session() if cloud else aws.session(target=p.target, region=p.region)
        return self._session

    def _up(self) -> Deployment:
        if self.deployment is None:
            raise EvidenceMissing(f"run {self.parameters.run_id}: nothing is deployed; call deploy() first")
        return self.deployment

    def _judged(self) -> findings.Collected:
        if self.collected is None:
            raise EvidenceMissing(f"run {self.parameters.run_id}: nothing is collected yet; call reconcile() first")
        return self.collected

    def _watched(self) -> collect.TaskWatch:
        if self._tasks is None:
            raise EvidenceMissing(f"run {self.parameters.run_id}: tasks were not watched; call deploy() first")
        return self._tasks

    def _template(self) -> str:
        return self._up().outputs[self.scenario.template_output]

    def _proof(self, history: History) -> FaultWindow | None:
        if self._experiment is None:
            return None
        session, deployment = self._connect(), self._up()
        meters = collect.Meters(session=session)
        # What the tasks told of the time after the fault must be there to be read.
        meters.settle(deployment, self.load_ended_at)
        return faults.prove(
            session,
            deployment,
            self._experiment,
            samples=self._tasks,
            meters=meters,
            attempts=history.attempts,
            evidence=self.scenario.evidence,
        )

    def _follow(self, what: str, until: float) -> list[dict[str, Any]]:
        """Show the load's progress until a time (epoch s). Raises EvidenceMissing when the generator dies."""
        live, first = views.Live(), len(self._seen)
        while (left_s := until - time.time()) > 0:
            time.sleep(min(TICK_S, left_s))
            self._show(live, what)
        return self._seen[first:]

    def _show(self, live: views.Live, what: str) -> None:
        """One look at the load's progress: a line when headless, a figure for whoever watches."""
        at = self.load.progress() if self.load else None
        if at is None:
            return
        self._seen.append(at)
        text = f"{what}: sent {at['sent']}, ok {at['ok']}, fail {at['fail']}, unknown {at['info']}"
        live.update(time.monotonic(), text, lambda: plots.live(self._seen, self._frame_now()))

    def _frame_now(self) -> plots.Frame:
        """The frame of a run that still goes on."""
        injected_at = self._experiment.started_at if self._experiment else None
        return plots.Frame(start=self.load_started_at, end=time.time(), fault_start=injected_at)

    def _phases(self) -> tuple[Phase, ...]:
        return findings.phases(self.load_started_at + WARM_UP_S, self.fault, self.load_ended_at, self.scenario)

    def _frame(self) -> plots.Frame:
        fault = self.fault
        return plots.Frame(
            start=self.load_started_at,
            end=self.load_ended_at,
            fault_start=fault.injected_at if fault else None,
            fault_end=fault.ended_at if fault else None,
        )
