"""One run of a suite, as a process: started, read, bounded, ended, judged by what it left.

Owns the reading of a run's log and of its `verdict.json`. Knows nothing of the other runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing
from kit.model import Verdict
from kit.process import lifeline
from kit.process.cpu_contention import CpuContention
from kit.suite.plan import Member
from kit.verdict import gate

# A run that is told to stop saves its notebook, undoes its faults, judges what there is and writes its report.
STOP_GRACE_S = 30.0
# With this much more, its supervisor has killed whatever was left.
STOP_MARGIN_S = 15.0
LOG_TAIL_BYTES = 4_096
REASON_CHARS_MAX = 300


class State(StrEnum):
    """Where a run is, as its log tells."""

    DEPLOYING = "deploying"
    STEADY = "steady state"
    FAULT = "fault"
    RECOVERY = "recovery"
    ENDED = "ended"


# How a line of the log begins when the run enters a state.
MARKS: Mapping[str, State] = {
    "steady state": State.STEADY,
    "experiment ": State.FAULT,
    "recovery:": State.RECOVERY,
}


class Attempt:
    """A run that goes on, under a lifeline: it ends with this process, however this process ends."""

    def __init__(self, member: Member, *, run_id: str, folder: Path, command: Sequence[str], number: int) -> None:
        self.member = member
        self.run_id = run_id
        self.number = number
        self.folder = folder
        self.log = folder / f"{run_id}.log"
        self.started_at = time.time()
        self.states: list[tuple[State, float]] = [(State.DEPLOYING, self.started_at)]
        self.cause = ""
        self._deadline = time.monotonic() + member.limit_s
        self._kill_at = float("inf")
        self._read = 0
        self._rest = b""
        self._owned = lifeline.spawn(
            [*command, *member.arguments(run_id, folder)], env=_environment(), log=self.log, grace_s=STOP_GRACE_S
        )

    @property
    def pid(self) -> int:
        """The first process of its tree."""
        return self._owned.pid

    @property
    def state(self) -> State:
        return self.states[-1][0]

    def since(self, state: State) -> float | None:
        """When it entered that state, or one beyond it (epoch s); None if it has not."""
        wanted = list(State).index(state)
        return next((at for entered, at in self.states if list(State).index(entered) >= wanted), None)

    def look(self) -> list[State]:
        """Read what is new; the states that it has entered since the last look. Stops what takes too long."""
        known, ended = len(self.states), self._owned.poll() is not None
        for line in self._fresh_lines():
            self._enter(next((state for mark, state in MARKS.items() if line.startswith(mark)), self.state))
        if ended:
            self._enter(State.ENDED)
        else:
            self._bound()
        return [state for state, _ in self.states[known:]]

    def stop(self, cause: str) -> None:
        """Ask it to end; its faults are undone and its evidence is kept. Returns at once."""
        self.cause = self.cause or cause
        self._kill_at = min(self._kill_at, time.monotonic() + STOP_GRACE_S + STOP_MARGIN_S)
        self._owned.terminate()

    def close(self) -> None:
        """End it, however; safe to repeat."""
        with contextlib.suppress(TimeoutError):
            self._owned.close(STOP_GRACE_S + STOP_MARGIN_S)

    def outcome(self, *, cpu_s: float) -> Outcome:
        """What it left, once it has ended; whoever watched the machine adds the pressure."""
        code = self._owned.poll()
        record = _left(self.folder / self.run_id, self.member, self.run_id)
        doubt = self.cause or _doubt(record, code)
        if record is None:
            why = ": ".join(word for word in (doubt, _last_words(self.log)) if word)
            record = missing_record(self.member, self.run_id, [why])
        elif doubt:
            record = gate.downgrade(record, [doubt])
        return Outcome(
            member=self.member, run_id=self.run_id, number=self.number, exit_code=code, cause=doubt,
            started_at=self.started_at, ended_at=self.states[-1][1], states=tuple(self.states), record=record,
            cpu_s=cpu_s, pressure=None, folder=self.folder,
        )  # fmt: skip

    def _bound(self) -> None:
        now = time.monotonic()
        if now > self._deadline and not self.cause:
            self.stop(f"it took longer than {self.member.limit_s:g} s and was stopped")
        if now > self._kill_at:
            # Its supervisor is killed when even that takes too long, and the kernel then kills the run.
            with contextlib.suppress(TimeoutError):
                self._owned.close(STOP_MARGIN_S)

    def _enter(self, state: State) -> None:
        # A run goes forward only: a line that looks like an earlier state changes nothing.
        order = list(State)
        if order.index(state) > order.index(self.state):
            self.states.append((state, time.time()))

    def _fresh_lines(self) -> list[str]:
        try:
            with self.log.open("rb") as file:
                file.seek(self._read)
                fresh = file.read()
        except FileNotFoundError:
            return []
        self._read += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A run that has ended. `cause`: why its own verdict is not to be believed, empty if it is. `number`: 1, or 2 for
    a repeat. `spoiled`: why it was to be repeated, empty if it was not.
    """

    member: Member
    run_id: str
    number: int
    exit_code: int | None
    cause: str
    started_at: float | None
    ended_at: float | None
    states: tuple[tuple[State, float], ...]
    record: dict[str, Any]
    cpu_s: float
    pressure: CpuContention | None
    folder: Path
    spoiled: str = ""

    @property
    def verdict(self) -> Verdict:
        return Verdict(self.record["verdict"])

    @property
    def duration_s(self) -> float:
        return self.ended_at - self.started_at if self.started_at and self.ended_at else 0.0

    @property
    def measured(self) -> tuple[float, float]:
        """From when to when it measured (epoch s): its phases, or all since its load began if it tells of none."""
        if phases := self.record["phases"]:
            return phases[0]["from"], phases[-1]["to"]
        steady = [at for state, at in self.states if state is not State.DEPLOYING]
        return (steady[0], steady[-1]) if steady else (0.0, 0.0)

    @property
    def report(self) -> Path | None:
        path = self.folder / self.run_id / "report.html"
        return path if path.exists() else None


def not_started(member: Member, folder: Path, cause: str) -> Outcome:
    """The outcome of a run that never was."""
    return Outcome(
        member=member, run_id=member.run_id, number=1, exit_code=None, cause=cause, started_at=None,
        ended_at=None, states=(), record=missing_record(member, member.run_id, [cause]), cpu_s=0.0, pressure=None,
        folder=folder,
    )  # fmt: skip


def missing_record(member: Member, run_id: str, reasons: Sequence[str]) -> dict[str, Any]:
    """The INVALID record of a run that left none."""
    return gate.invalid_record(
        run_id=run_id,
        scenario=member.scenario,
        parameters=member.given,
        reasons=reasons,
        reproduce=member.command(),
    )


def _left(run_dir: Path, member: Member, run_id: str) -> dict[str, Any] | None:
    """The run's own record; None if there is none that can be believed."""
    try:
        record = json.loads((run_dir / "verdict.json").read_text(encoding="utf-8"))
        gate.validate(record)
    except (OSError, ValueError, EvidenceMissing):
        return None
    return record if (record["scenario"], record["run_id"]) == (member.scenario, run_id) else None


def _doubt(record: Mapping[str, Any] | None, code: int | None) -> str:
    ended = f"killed by signal {_signal(code)}" if _signal(code) else f"exit code {code}"
    if record is None:
        return f"the run left no verdict ({ended})"
    if Verdict(record["verdict"]).exit_code != code:
        return f"the run ended with {ended}, which is not its verdict's"
    return ""


def _signal(code: int | None) -> int:
    """The signal that ended a program or (negative) its supervisor, 0 for none."""
    return 0 if code is None else -code if code < 0 else max(0, code - 128)


def _last_words(log: Path) -> str:
    """The last line that a run wrote."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:REASON_CHARS_MAX] for line in reversed(lines) if line.strip()), "")


def _environment() -> dict[str, str]:
    """A run of a suite is a headless command like any other: nothing of a notebook around it may leak in."""
    return {name: value for name, value in os.environ.items() if name not in {"GAMEDAY_HEADLESS", "GAMEDAY_PORT"}}
