"""The object that a notebook holds: one run of one scenario, with one method a stage.

However the run ends, it ends the fault, the load, the stack and the local AWS that it started.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from kit import aws, collect, deploy, faults, scenarios, slo
from kit.errors import EvidenceMissing, KitError, VerdictNotPass
from kit.files import make_folder
from kit.files.seal import write_manifest
from kit.gameday import golden_runs, load_source
from kit.gameday.collecting import LoadWindow, collect_evidence
from kit.gameday.commands import Watchdog, standing_cloud, start_watchdog
from kit.gameday.deploying import DEPLOY_TIMEOUT_S, connect, deploy_build, push_build
from kit.gameday.evidence import HISTORY, RunEvidence, read_evidence
from kit.gameday.findings import steady_state_problems
from kit.gameday.judging import Judgement, judge_folder
from kit.gameday.load_plan import EXPERIMENT_SLACK_S, load_plan, write_past
from kit.gameday.parameters import Parameters
from kit.load import LoadPlan
from kit.model import WARM_UP_S, Deployment, RunFacts, Verdict
from kit.notebook import partial_record, plots, scraps, views
from kit.notebook.run_phases import RunPhase, record_phase
from kit.parameter_specs import RUN_PARAMETERS
from kit.process.machine import MachineWatch
from kit.verdict import gate

TEAR_DOWN_TIMEOUT_S = 900
LOAD_FINISH_TIMEOUT_S = 60
TICK_S = 1.0


class GameDay:
    """One run of one scenario. Make it with `begin`, then call the stages in the order in which they stand here."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.scenario = scenarios.get(parameters.scenario)
        self.run_dir = parameters.run_dir
        self.started_at = time.time()
        self.build_digest = ""
        self.deployment: Deployment | None = None
        self.load: load_source.RunningLoad | None = None
        self._load_stack: Mapping[str, str] = {}
        self._plan: LoadPlan | None = None
        self.load_started_at = 0.0
        self.evidence: RunEvidence | None = None
        self.judgement: Judgement | None = None
        self.leftovers: list[str] = []
        self._experiment: faults.Experiment | None = None
        self._cloud: aws.LocalCloud | None = None
        self._session: aws.Session | None = None
        self._tasks: collect.TaskWatch | None = None
        self._machine: MachineWatch | None = None
        self._watchdog = Watchdog(process=None)
        self._progress: list[dict[str, Any]] = []
        self._unsteady = ""
        self._torn_down = False
        self._closed = False

    @classmethod
    def begin(cls, scenario: str, **parameters: Any) -> GameDay:
        """Check the parameters and make the run's folder; nothing is started yet. Raises UsageError."""
        plan = Parameters(scenario=scenario, **parameters)
        day = cls(plan)
        if not os.environ.get("GAMEDAY_HEADLESS"):
            # The command that starts a headless run has checked the parameters and started the watchdog.
            plan.preflight()
            day._watchdog = start_watchdog(plan)
        make_folder(plan.run_dir)
        atexit.register(day.close)
        return day

    def brief(self) -> None:
        """Show what the scenario breaks and what it expects."""
        views.show_brief(self.scenario.title, self.scenario.hypothesis)

    def deploy(self) -> None:
        """Start the local AWS if the target is one, build the image, bring the stack up, wait until it is ready."""
        record_phase(self.run_dir, RunPhase.DEPLOY)
        p = self.parameters
        session = self._connect()
        image = push_build(session, p)
        self.build_digest = image.digest
        views.say(f"run {p.run_id}: image {image.digest[:19]}" + (f" with change {p.change}" if p.change else ""))
        self.deployment = deploy_build(session, self.scenario, image, p)
        views.say(f"stack {self.deployment.stack_name} is up at {self.deployment.api_url}")
        if p.load_tasks:
            self._load_stack = load_source.deploy_tasks(session, p.run_id, timeout_s=DEPLOY_TIMEOUT_S)
        views.say(load_source.described(p))
        self._tasks = collect.TaskWatch.start(session, self.deployment)
        views.show_table(collect.task_table(session, self.deployment))

    def write_past(self) -> None:
        """Write orders of earlier times into the tables, so that the run starts on a ledger that is long already."""
        deployment, p = self._up(), self.parameters
        started = time.monotonic()
        plan = load_plan(self.scenario, p, deployment)
        self._plan, items = write_past(self._connect(), deployment, plan, p)
        took_s, events = time.monotonic() - started, sum(self._plan.past_seqs)
        views.say(f"{p.past_orders:,} earlier orders and {events:,} events: {items:,} items written in {took_s:.1f} s")

    def steady_state(self) -> None:
        """Start the load, and check that the hypothesis holds before anything is broken."""
        deployment, p = self._up(), self.parameters
        record_phase(self.run_dir, RunPhase.STEADY_STATE)
        plan = self._plan or load_plan(self.scenario, p, deployment)
        standing = standing_cloud() if p.target == "local" else None
        self._machine = MachineWatch.start([standing.pid] if standing else ())
        self.load = load_source.start(self._connect(), plan, self.run_dir / HISTORY, p, self._load_stack)
        self.load_started_at = self.load.started_at
        seen = self._follow("steady state", self.load_started_at + WARM_UP_S + p.steady_s)
        problems = steady_state_problems(seen[int(WARM_UP_S) :], self.scenario)
        self._unsteady = "; ".join(problems)
        views.say(f"steady state does not hold: {self._unsteady}" if problems else "steady state holds")

    def preview(self) -> None:
        """Let FIS resolve the targets without acting, and refuse any that are not this run's own."""
        targets = faults.preview(self._connect(), self._template(), self._up())
        views.show_table(views.target_table(targets))

    def inject(self) -> None:
        """Start the experiment and follow it to its end; stops it if this is interrupted."""
        if self._unsteady:
            views.say(f"nothing is injected: {self._unsteady}")
            return
        session = self._connect()
        record_phase(self.run_dir, RunPhase.FAULT)
        self._experiment = faults.start(session, self._template(), self._up())
        live = views.Live()
        limit_s = self.parameters.fault_duration_s + EXPERIMENT_SLACK_S
        partial_record.write_experiment(self.run_dir, faults.unproven(self._experiment))
        try:
            for state in faults.watch(session, self._experiment, timeout_s=limit_s):
                partial_record.write_experiment(self.run_dir, faults.unproven(state))
                self._show(live, f"experiment {state.status}")
        except BaseException:
            # Whatever interrupts the cell (Ctrl-C, a kernel that shuts down, a lost connection), the fault must end.
            faults.stop(session, self._experiment.id)
            raise

    def recover(self) -> None:
        """Keep the load on while the stack heals by itself."""
        record_phase(self.run_dir, RunPhase.RECOVERY)
        self._follow("recovery", time.time() + self.parameters.recovery_s)

    def reconcile(self) -> None:
        """Stop the load, ask again for unknown outcomes, let the matcher drain, collect all evidence, tear down."""
        session, deployment = self._connect(), self._up()
        record_phase(self.run_dir, RunPhase.RECONCILE)
        load_ended_at = time.time()
        if self.load is not None:
            self.load.finish(LOAD_FINISH_TIMEOUT_S)
        observed = collect_evidence(
            session,
            deployment,
            run_dir=self.run_dir,
            scenario=self.scenario,
            facts=self._facts(),
            load=LoadWindow(started_at=self.load_started_at, ended_at=load_ended_at),
            experiment=self._experiment,
            watch=self._watched(),
            machine_samples=self._machine.samples if self._machine else (),
        )
        # Before the clean-up too, which may take minutes and be killed: the evidence is complete.
        self._write_manifest()
        self._tear_down()
        self._write_manifest()
        # What is shown and judged comes from the folder, so that it is the same wherever it is read.
        self.evidence = read_evidence(self.run_dir)
        views.show_table(
            views.reconciliation_table(
                self.evidence.history.stats,
                self.evidence.load_events,
                {
                    "still in the outbox": observed.quiescence.outbox,
                    "still queued": observed.quiescence.queued,
                    "dead letters": observed.quiescence.dead_letters,
                },
            )
        )

    def show_latency(self) -> None:
        """Plot latency percentiles of first attempts by second."""
        seconds = slo.per_second(self._collected().history.attempts)
        figure = plots.latency(seconds, self._frame(), limit_ms=self.scenario.p95_limit_ms)
        scraps.glue_figure("latency", figure, alt="Latency percentiles by second, the fault shaded")

    def show_throughput(self) -> None:
        """Plot attempts by second and outcome."""
        seconds = slo.per_second(self._collected().history.attempts)
        figure = plots.throughput(seconds, self._frame())
        scraps.glue_figure("throughput", figure, alt="Attempts a second by outcome, the fault shaded")

    def show_fills(self) -> None:
        """Plot orders and fills by second, and the time from an order to its first fill."""
        events = self._collected().load_events
        orders, fills = views.event_times(events, "accepted"), views.event_times(events, "fill")
        figure = plots.fills(orders, fills, views.first_fill_times(events), self._frame())
        scraps.glue_figure("fills", figure, alt="Accepted orders and fills by second; time to first fill")

    def show_tasks(self) -> None:
        """Plot running tasks by zone."""
        figure = plots.tasks(self._collected().observed.tasks_by_zone(), self._frame())
        scraps.glue_figure("tasks", figure, alt="Running tasks by zone, the fault shaded")

    def show_alarms(self) -> None:
        """Plot the states of the guardrail alarms."""
        figure = plots.alarms(self._collected().observed.alarms, self._frame())
        scraps.glue_figure("alarms", figure, alt="State of each guardrail alarm over time")

    def check(self) -> None:
        """Judge the run's folder: orders, money, what clients saw, the fault and the load generator."""
        record_phase(self.run_dir, RunPhase.CHECK)
        self.judgement = judge_folder(self.run_dir)
        views.show_findings(self.judgement.findings)

    def verdict(self) -> None:
        """Glue the verdict, then raise VerdictNotPass unless it is PASS."""
        record_phase(self.run_dir, RunPhase.VERDICT)
        record = self.judgement.record() if self.judgement else self._unjudged()
        scraps.glue("trend", scraps.trend(record))
        if self.judgement is not None:
            scraps.glue(golden_runs.SAMPLE_SCRAP, golden_runs.sample(self.judgement.evidence).to_plain())
        self._write_manifest(record)
        scraps.glue(scraps.VERDICT_SCRAP, record)
        if self._torn_down:
            self.close()
        views.say(record["verdict"])
        views.show_reasons(record["reasons"])
        if record["verdict"] != Verdict.PASS:
            raise VerdictNotPass(f"{record['verdict']}: {record['reasons'][0]}")

    def _write_manifest(self, verdict: dict[str, Any] | None = None) -> None:
        write_manifest(self.run_dir, headless=bool(os.environ.get("GAMEDAY_HEADLESS")), verdict=verdict)

    def _unjudged(self) -> dict[str, Any]:
        """Make the record of a run that was not checked: INVALID."""
        known = partial_record.known_facts(self.run_dir)
        verdict, reasons = gate.judge((), None, fault_expected=not self.scenario.breaks_nothing)
        return gate.record(
            replace(self._facts(), ended_at=time.time()), verdict, [*reasons, *known.sentences], findings=(),
            fault=known.fault, load=known.load, unknown=known.unknown,
        )  # fmt: skip

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
        collect.write_cleanup(collect.Cleanup(leftovers=tuple(self.leftovers), ended_at=time.time()), self.run_dir)
        self._watchdog.close()

    def _endings(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield what to end, in order: the fault, the load and the watches, then the stack and the local AWS."""
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
            # Only what this run has created: the name may be another run's.
            for name in (deployment.stack_name, *([load_source.stack_name(run_id)] if self._load_stack else [])):
                yield f"stack {name}", partial(deploy.tear_down, session, name, timeout_s=TEAR_DOWN_TIMEOUT_S)
            yield "leak check", lambda: self.leftovers.extend(deploy.find_stacks(session, run_id=run_id))
            yield "leak check", lambda: self.leftovers.extend(deploy.find_buckets(session, run_id=run_id))
        if self._cloud is not None:
            yield "local AWS", self._cloud.close

    def _connect(self) -> aws.Session:
        """Return the run's session; starts a local AWS for it if that is the target and none is up."""
        if self._session is None:
            self._session, self._cloud = connect(self.parameters)
        return self._session

    def _up(self) -> Deployment:
        if self.deployment is None:
            raise EvidenceMissing(f"run {self.parameters.run_id}: nothing is deployed; call deploy() first")
        return self.deployment

    def _collected(self) -> RunEvidence:
        if self.evidence is None:
            raise EvidenceMissing(f"run {self.parameters.run_id}: nothing is collected yet; call reconcile() first")
        return self.evidence

    def _facts(self) -> RunFacts:
        p = self.parameters
        return RunFacts(
            run_id=p.run_id,
            scenario=p.scenario,
            build=self.build_digest,
            change=p.change,
            target=p.target,
            region=p.region,
            seed=p.seed,
            reproduce=p.reproduce,
            parameters={name: getattr(p, name) for name in RUN_PARAMETERS},
            started_at=self.started_at,
        )

    def _watched(self) -> collect.TaskWatch:
        if self._tasks is None:
            raise EvidenceMissing(f"run {self.parameters.run_id}: tasks were not watched; call deploy() first")
        return self._tasks

    def _template(self) -> str:
        return self._up().outputs[self.scenario.template_output]

    def _follow(self, what: str, until: float) -> list[dict[str, Any]]:
        """Show the load's progress until a time (epoch s). Raises EvidenceMissing when the generator dies."""
        live, first = views.Live(), len(self._progress)
        while (left_s := until - time.time()) > 0:
            time.sleep(min(TICK_S, left_s))
            self._show(live, what)
        return self._progress[first:]

    def _show(self, live: views.Live, what: str) -> None:
        """Show the load's progress once: as a line when headless, as a figure in JupyterLab."""
        at = self.load.progress() if self.load else None
        if at is None:
            return
        self._progress.append(at)
        text = f"{what}: sent {at['sent']}, ok {at['ok']}, fail {at['fail']}, unknown {at['info']}"
        live.update(time.monotonic(), text, lambda: plots.live(self._progress, self._frame_now()))

    def _frame_now(self) -> plots.Frame:
        """Return the frame of a run that still goes on."""
        injected_at = self._experiment.started_at if self._experiment else None
        return plots.Frame(start=self.load_started_at, end=time.time(), fault_start=injected_at)

    def _frame(self) -> plots.Frame:
        observed = self._collected().observed
        return plots.Frame(
            start=observed.load_started_at,
            end=observed.load_ended_at,
            fault_start=observed.fault.injected_at if observed.fault else None,
            fault_end=observed.fault.ended_at if observed.fault else None,
        )
