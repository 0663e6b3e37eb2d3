"""A suite while it runs: who may start when, what every run does, when it is over, and what is left of it.

Owns the processes of all runs: however this process ends, they end too. Says what happens through a function that it
is given; prints nothing itself. What is written of it is the publisher's: the suite's, or that of whoever else has many
runs to make (`kit.power`).
"""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from kit import reports
from kit.gameday.commands import standing_cloud
from kit.model import Verdict
from kit.process import cpu_contention
from kit.suite import record
from kit.suite.concurrency import NEED_AFTER_S, STRANGERS_OVER_S, Places
from kit.suite.plan import Member, Plan, repeat_run_id
from kit.suite.repeat import spoiled
from kit.suite.run_process import Attempt, Outcome, State, not_started

COMMAND = (sys.executable, "-m", "kit", "run")
POLL_S = 0.2
SAMPLE_EVERY_S = 1.0
# The machine's last four hours are remembered.
SAMPLES_MAX = 4 * 3_600
# A deployment keeps others from starting at most this long.
DEPLOY_ALONE_S_MAX = 120.0
REPEATS_MAX = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A run that waits. A repeat runs alone."""

    member: Member
    run_id: str
    number: int = 1

    @property
    def alone(self) -> bool:
        return self.number > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a suite has come: what its record is made of. `jobs`: how the machine was shared."""

    plan: Plan
    outcomes: Sequence[Outcome]
    state: str
    started_at: float
    ended_at: float | None
    jobs: Mapping[str, Any]
    stopped_by: str


def publish(progress: Progress) -> dict[str, Any]:
    """Write a suite's suite.json, junit.xml and index.html; its record."""
    folder = progress.plan.folder
    made = record.make(
        progress.plan, progress.outcomes, state=progress.state, started_at=progress.started_at,
        ended_at=progress.ended_at, jobs=progress.jobs, stopped_by=progress.stopped_by,
    )  # fmt: skip
    record.write(made, folder)
    counted = record.counting(progress.outcomes)
    reports.write_suite_junit(made, [one.record for one in counted], folder / "junit.xml")
    reports.write_suite_html(made, folder / "index.html")
    return made


class Execution:
    """One suite. `run` does it all, once. `publish` writes its record, at its begin, after each run and at its end."""

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
        self._published = publish
        self._waiting = deque(Turn(member=member, run_id=member.run_id) for member in plan.members)
        self._running: list[Attempt] = []
        self._outcomes: list[Outcome] = []
        self._watch = cpu_contention.CpuSampler()
        self._samples: deque[cpu_contention.CpuSample] = deque(maxlen=SAMPLES_MAX)
        self._sampled_at = time.monotonic()
        self._cpu_s: dict[str, float] = {}
        self._places = Places(asked=plan.jobs, members=len(plan.members), shared=standing_cloud() is not None)
        self._started_at = time.time()
        self._stopped_by = ""

    def run(self) -> dict[str, Any]:
        """Run everything and leave what the publisher writes; the suite's record."""
        self._plan.folder.mkdir(parents=True, exist_ok=True)
        self._publish(record.RUNNING)
        try:
            with self._listening():
                while self._running or self._waiting:
                    self._turn()
                    time.sleep(POLL_S)
        finally:
            for attempt in self._running:
                attempt.stop(f"the {self._plan.kind} ended")
            for attempt in self._running:
                attempt.close()
        made = self._publish(record.STOPPED if self._stopped_by else record.DONE, ended_at=time.time())
        reports.write_index(self._plan.reports)
        return made

    def stop(self, by: str) -> None:
        """End it in order, as a signal does; `run` returns when all runs have ended."""
        self._stopped_by = self._stopped_by or by

    def _turn(self) -> None:
        if self._stopped_by:
            self._stop_all()
        elif self._may_start():
            self._start(self._waiting.popleft())
        if time.monotonic() - self._sampled_at >= SAMPLE_EVERY_S:
            self._sample()
        for attempt in list(self._running):
            for entered in attempt.look():
                if entered is State.ENDED:
                    self._finish(attempt)
                else:
                    self._tell(attempt.member, entered.value)

    def _may_start(self) -> bool:
        """A free place, nobody deploying, and nobody at all beside one that must run alone."""
        if not self._waiting:
            return False
        if any(attempt.number > 1 for attempt in self._running) or (self._waiting[0].alone and self._running):
            return False
        young = time.time() - DEPLOY_ALONE_S_MAX
        deploying = [a for a in self._running if a.state is State.DEPLOYING and a.started_at > young]
        return not deploying and self._free()

    def _free(self) -> bool:
        places, why = self._places.now(time.time() - self._started_at)
        if why:
            self._say(f"{_clock()} {places} side by side: {why}")
        return len(self._running) < places

    def _start(self, turn: Turn) -> None:
        attempt = Attempt(
            turn.member, run_id=turn.run_id, folder=self._plan.folder, command=self._command, number=turn.number
        )
        self._running.append(attempt)
        again = ", again and alone" if turn.alone else ""
        self._tell(turn.member, f"{attempt.state.value}{again}  ({turn.run_id})")

    def _sample(self) -> None:
        self._sampled_at = time.monotonic()
        sample = self._watch.sample({attempt.run_id: attempt.pid for attempt in self._running})
        if sample is None:
            return
        self._samples.append(sample)
        self._places.strangers = cpu_contention.other_processes_cores(self._samples, sample.at - STRANGERS_OVER_S)
        for attempt in self._running:
            name, since = attempt.run_id, attempt.since(State.STEADY)
            self._cpu_s[name] = max(self._cpu_s.get(name, 0.0), self._watch.used_s(name))
            if since is not None and sample.at - since >= NEED_AFTER_S and attempt.state is not State.ENDED:
                seen = cpu_contention.contention(self._samples, name, since, sample.at)
                self._places.needs[name] = seen.own_cores if seen else 0.0

    def _finish(self, attempt: Attempt) -> None:
        self._running.remove(attempt)
        outcome = attempt.outcome(cpu_s=self._cpu_s.get(attempt.run_id, 0.0))
        seen = cpu_contention.contention(self._samples, attempt.run_id, *outcome.measured)
        if seen:
            self._places.needs[attempt.run_id] = seen.own_cores
        why = "" if self._stopped_by or outcome.cause else spoiled(outcome.record, seen)
        if attempt.number > REPEATS_MAX:
            why = ""
        self._outcomes.append(replace(outcome, pressure=seen, spoiled=why))
        self._tell(attempt.member, f"{outcome.verdict.value} after {outcome.duration_s:.0f} s")
        if why:
            self._places.spoiled = True
            run_id = repeat_run_id(attempt.run_id)
            self._waiting.append(Turn(member=attempt.member, run_id=run_id, number=attempt.number + 1))
            self._tell(attempt.member, f"will be repeated alone: {why}")
        self._publish(record.RUNNING)

    def _stop_all(self) -> None:
        """Ask every run to end, and let none begin; what never began is told so."""
        cause = f"the {self._plan.kind} was stopped by {self._stopped_by}"
        for turn in self._waiting:
            if not turn.alone:
                self._outcomes.append(not_started(turn.member, self._plan.folder, f"not started: {cause}"))
        self._waiting.clear()
        for attempt in self._running:
            if not attempt.cause:
                attempt.stop(cause)
                self._tell(attempt.member, f"stopping: {cause}")

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the suite in order while this lasts."""

        def heard(number: int, _frame: object) -> None:
            self.stop(signal.Signals(number).name)

        before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _publish(self, state: str, ended_at: float | None = None) -> dict[str, Any]:
        return self._published(
            Progress(
                plan=self._plan, outcomes=tuple(self._outcomes), state=state, started_at=self._started_at,
                ended_at=ended_at, jobs=self._places.plain(), stopped_by=self._stopped_by,
            )
        )  # fmt: skip

    def _tell(self, member: Member, text: str) -> None:
        self._say(f"{_clock()} {member.name:<22} {text}")


def table(made: dict[str, Any], plan: Plan) -> Iterator[str]:
    """The lines that end a suite: scenario, verdict, duration, report, and why where it is not PASS."""
    counted = [run for run in made["runs"] if run["counts"]]
    for run in counted:
        where = plan.folder / (run["report"] or run["log"] or record.FILE)
        yield f"{run['scenario']:<22} {run['verdict']:<8} {run['duration_s']:>5.0f} s  {where}"
        if run["verdict"] != Verdict.PASS:
            yield f"    {run['why']}"
        for first in (one for one in made["runs"] if one["scenario"] == run["scenario"] and not one["counts"]):
            yield f"    repeated alone, because {first['spoiled']}: {first['verdict']}, {first['why']}"


def _clock() -> str:
    return time.strftime("%H:%M:%S")
