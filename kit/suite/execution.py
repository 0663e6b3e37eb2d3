"""Run a suite: start runs as slots become free, and repeat runs that CPU contention invalidated.

The suite's record is written again after each run. If this process ends for any reason, its runs end with it.
`kit.power` uses the same execution with its own `publish` function.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kit import reports
from kit.gameday.commands import standing_cloud
from kit.model import Verdict
from kit.notebook.run_phases import RunPhase
from kit.process import cpu_contention
from kit.process.signals import stop_on_signal
from kit.suite import record as suite_record
from kit.suite.concurrency import DEMAND_KNOWN_AFTER_S, OTHER_PROCESSES_WINDOW_S, ConcurrencySlots
from kit.suite.outcome import Outcome, not_started
from kit.suite.plan import Member, Plan, repeat_run_id
from kit.suite.repeat import repeat_reason
from kit.suite.run_process import RunProcess

COMMAND = (sys.executable, "-m", "kit", "run")
POLL_S = 0.2
SAMPLE_EVERY_S = 1.0
# The CPU samples of the last four hours are kept, one a second.
SAMPLES_MAX = 4 * 3_600
# No run starts while another one is being deployed, because both would be slow. After this time it starts all the same.
DEPLOY_ALONE_S_MAX = 120.0
# A run that CPU contention invalidated is repeated this often.
REPEATS_MAX = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRun:
    """A run that waits for its start. A repeat (`attempt` 2) runs alone, so that no other run disturbs it again."""

    member: Member
    run_id: str
    attempt: int = 1

    @property
    def is_repeat(self) -> bool:
        return self.attempt > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of an execution, from which its record is written. `jobs`: the concurrency slots and their changes."""

    plan: Plan
    outcomes: Sequence[Outcome]
    state: str
    started_at: float
    ended_at: float | None
    jobs: Mapping[str, Any]
    stopped_by: str


def publish(progress: Progress) -> dict[str, Any]:
    """Write a suite's suite.json, junit.xml and index.html; return the record."""
    folder = progress.plan.folder
    record = suite_record.make(
        progress.plan, progress.outcomes, state=progress.state, started_at=progress.started_at,
        ended_at=progress.ended_at, jobs=progress.jobs, stopped_by=progress.stopped_by,
    )  # fmt: skip
    suite_record.write(record, folder)
    counted = suite_record.counting(progress.outcomes)
    reports.write_suite_junit(record, [outcome.record for outcome in counted], folder / "junit.xml")
    reports.write_suite_html(record, folder / "index.html")
    return record


class Execution:
    """One suite; call `run` once. `publish` is called at the start, after each run and at the end."""

    def __init__(
        self,
        plan: Plan,
        *,
        say: Callable[[str], None],
        command: Sequence[str] = COMMAND,
        publish: Callable[[Progress], dict[str, Any]] = publish,
    ) -> None:
        self._plan = plan
        self._say = say
        self._command = command
        self._publish_progress = publish
        self._queue = deque(QueuedRun(member=member, run_id=member.run_id) for member in plan.members)
        self._running: list[RunProcess] = []
        self._outcomes: list[Outcome] = []
        self._cpu_sampler = cpu_contention.CpuSampler()
        self._samples: deque[cpu_contention.CpuSample] = deque(maxlen=SAMPLES_MAX)
        self._sampled_at = time.monotonic()
        self._cpu_s: dict[str, float] = {}
        self._slots = ConcurrencySlots(
            requested=plan.jobs, members=len(plan.members), shared_cloud=standing_cloud() is not None
        )
        self._started_at = time.time()
        self._stopped_by = ""

    def run(self) -> dict[str, Any]:
        """Run every member to its end; return the record."""
        self._plan.folder.mkdir(parents=True, exist_ok=True)
        self._publish(suite_record.RUNNING)
        try:
            with stop_on_signal(self.stop):
                while self._running or self._queue:
                    self._step()
                    time.sleep(POLL_S)
        finally:
            for run in self._running:
                run.stop(f"the {self._plan.kind} ended")
            for run in self._running:
                run.close()
        record = self._publish(suite_record.STOPPED if self._stopped_by else suite_record.DONE, ended_at=time.time())
        reports.write_index(self._plan.reports)
        return record

    def stop(self, by: str) -> None:
        """Stop all runs in the same way as a signal. `run` returns when they have ended."""
        self._stopped_by = self._stopped_by or by

    def _step(self) -> None:
        if self._stopped_by:
            self._stop_all()
        elif self._may_start():
            self._start(self._queue.popleft())
        if time.monotonic() - self._sampled_at >= SAMPLE_EVERY_S:
            self._sample_cpu()
        for run in list(self._running):
            for phase in run.poll():
                self._log_run(run.member, phase.value.replace("_", " "))
            if run.ended_at is not None:
                self._finish(run)

    def _may_start(self) -> bool:
        """Return whether a slot is free, no run is being deployed, and a repeat would run alone."""
        if not self._queue:
            return False
        if any(run.attempt > 1 for run in self._running) or (self._queue[0].is_repeat and self._running):
            return False
        started_after = time.time() - DEPLOY_ALONE_S_MAX
        is_deploying = any(
            run.reached(RunPhase.STEADY_STATE) is None and run.started_at > started_after for run in self._running
        )
        return not is_deploying and self._has_free_slot()

    def _has_free_slot(self) -> bool:
        slots, reason = self._slots.update(time.time() - self._started_at)
        if reason:
            self._say(f"{_clock()} {slots} in parallel: {reason}")
        return len(self._running) < slots

    def _start(self, queued: QueuedRun) -> None:
        run = RunProcess(
            queued.member, run_id=queued.run_id, folder=self._plan.folder, command=self._command, attempt=queued.attempt
        )
        self._running.append(run)
        self._log_run(queued.member, f"start{', repeated alone' if queued.is_repeat else ''}  ({queued.run_id})")

    def _sample_cpu(self) -> None:
        self._sampled_at = time.monotonic()
        sample = self._cpu_sampler.sample({run.run_id: run.pid for run in self._running})
        if sample is None:
            return
        self._samples.append(sample)
        window_start = sample.at - OTHER_PROCESSES_WINDOW_S
        self._slots.other_processes_cores = cpu_contention.other_processes_cores(self._samples, window_start)
        for run in self._running:
            name, steady_at = run.run_id, run.reached(RunPhase.STEADY_STATE)
            self._cpu_s[name] = max(self._cpu_s.get(name, 0.0), self._cpu_sampler.used_s(name))
            if steady_at is not None and sample.at - steady_at >= DEMAND_KNOWN_AFTER_S:
                contention = cpu_contention.contention(self._samples, name, steady_at, sample.at)
                self._slots.demand_cores[name] = contention.own_cores if contention else 0.0

    def _finish(self, run: RunProcess) -> None:
        self._running.remove(run)
        outcome = run.outcome(cpu_s=self._cpu_s.get(run.run_id, 0.0))
        contention = cpu_contention.contention(self._samples, run.run_id, *outcome.measured_window)
        if contention:
            self._slots.demand_cores[run.run_id] = contention.own_cores
        may_repeat = not self._stopped_by and not outcome.downgrade_reason and run.attempt <= REPEATS_MAX
        reason = repeat_reason(outcome.record, contention) if may_repeat else ""
        self._outcomes.append(replace(outcome, contention=contention, repeat_reason=reason))
        self._log_run(run.member, f"{outcome.verdict.value} after {outcome.duration_s:.0f} s")
        if reason:
            self._slots.run_invalidated = True
            run_id = repeat_run_id(run.run_id)
            self._queue.append(QueuedRun(member=run.member, run_id=run_id, attempt=run.attempt + 1))
            self._log_run(run.member, f"will be repeated alone, because {reason}")
        self._publish(suite_record.RUNNING)

    def _stop_all(self) -> None:
        """Stop every run, start no other, and record the runs that were never started."""
        reason = f"the {self._plan.kind} was stopped by {self._stopped_by}"
        for queued in self._queue:
            # For a repeat, the record already has the outcome of its first run.
            if not queued.is_repeat:
                self._outcomes.append(not_started(queued.member, self._plan.folder, f"not started: {reason}"))
        self._queue.clear()
        for run in self._running:
            if not run.stop_reason:
                run.stop(reason)
                self._log_run(run.member, f"stopping: {reason}")

    def _publish(self, state: str, ended_at: float | None = None) -> dict[str, Any]:
        return self._publish_progress(
            Progress(
                plan=self._plan, outcomes=tuple(self._outcomes), state=state, started_at=self._started_at,
                ended_at=ended_at, jobs=self._slots.plain(), stopped_by=self._stopped_by,
            )
        )  # fmt: skip

    def _log_run(self, member: Member, text: str) -> None:
        self._say(f"{_clock()} {member.name:<22} {text}")


def table(record: dict[str, Any], plan: Plan) -> Iterator[str]:
    """Summarize a finished suite: a line per run that counts, and the reason of every run that is not PASS."""
    for run in (run for run in record["runs"] if run["counts"]):
        where = plan.folder / (run["report"] or run["log"] or suite_record.FILE)
        yield f"{run['scenario']:<22} {run['verdict']:<8} {run['duration_s']:>5.0f} s  {where}"
        if run["verdict"] != Verdict.PASS:
            yield f"    {run['main_reason']}"
        for first in (
            other for other in record["runs"] if other["scenario"] == run["scenario"] and not other["counts"]
        ):
            yield f"    repeated alone, because {first['repeat_reason']}: {first['verdict']}, {first['main_reason']}"


def _clock() -> str:
    return time.strftime("%H:%M:%S")
