"""Run one game day of a suite as a process: start it, follow its phases, bound its time, collect its outcome."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from kit.errors import EvidenceMissing
from kit.notebook.run_phases import PhaseStart, RunPhase, read_phases
from kit.process import lifeline
from kit.suite.outcome import Outcome, accepted_record
from kit.suite.plan import Member

# A run that is told to stop saves its notebook, undoes its faults, judges what there is and writes its report.
STOP_GRACE_S = 30.0
# After this additional time its supervisor has killed whatever was left.
STOP_MARGIN_S = 15.0
PHASE_ORDER = tuple(RunPhase)


class RunProcess:
    """A running game day under a lifeline: it ends with this process, however this process ends."""

    def __init__(self, member: Member, *, run_id: str, folder: Path, command: Sequence[str], attempt: int) -> None:
        self.member = member
        self.run_id = run_id
        self.attempt = attempt
        self.folder = folder
        self.log = folder / f"{run_id}.log"
        self.started_at = time.time()
        self.ended_at: float | None = None
        self.phases: tuple[PhaseStart, ...] = ()
        self.stop_reason = ""
        self._deadline = time.monotonic() + member.limit_s
        self._kill_at = float("inf")
        self._process = lifeline.spawn(
            [*command, *member.arguments(run_id, folder)], env=_environment(), log=self.log, grace_s=STOP_GRACE_S
        )

    @property
    def pid(self) -> int:
        """The first process of its tree."""
        return self._process.pid

    def reached(self, phase: RunPhase) -> float | None:
        """Return when it entered that phase or a later one (epoch s); None if it has not."""
        wanted = PHASE_ORDER.index(phase)
        return next((start.t for start in self.phases if PHASE_ORDER.index(start.phase) >= wanted), None)

    def poll(self) -> list[RunPhase]:
        """Return the phases that it has entered since the last call. Stops a run that exceeds its time limit."""
        known, has_ended = len(self.phases), self._process.poll() is not None
        # A phases file that cannot be read delays the display and other runs' starts; it does not change a verdict.
        with contextlib.suppress(EvidenceMissing):
            self.phases = read_phases(self.folder / self.run_id)
        if not has_ended:
            self._enforce_limit()
        elif self.ended_at is None:
            self.ended_at = time.time()
        return [start.phase for start in self.phases[known:]]

    def stop(self, reason: str) -> None:
        """Ask the run to end, and return at once. The run undoes its faults and keeps its evidence."""
        self.stop_reason = self.stop_reason or reason
        self._kill_at = min(self._kill_at, time.monotonic() + STOP_GRACE_S + STOP_MARGIN_S)
        self._process.terminate()

    def close(self) -> None:
        """End the run, by force if necessary; safe to repeat."""
        with contextlib.suppress(TimeoutError):
            self._process.close(STOP_GRACE_S + STOP_MARGIN_S)

    def outcome(self, *, cpu_s: float) -> Outcome:
        """Collect what the run left after it has ended. The caller adds the CPU contention."""
        exit_code = self._process.poll()
        record, downgrade_reason = accepted_record(
            self.member, self.run_id, self.folder, self.log, exit_code=exit_code, stop_reason=self.stop_reason
        )
        return Outcome(
            member=self.member, run_id=self.run_id, attempt=self.attempt, exit_code=exit_code,
            downgrade_reason=downgrade_reason, started_at=self.started_at, ended_at=self.ended_at,
            phases=self.phases, record=record, cpu_s=cpu_s, contention=None, folder=self.folder,
        )  # fmt: skip

    def _enforce_limit(self) -> None:
        now = time.monotonic()
        if now > self._deadline and not self.stop_reason:
            self.stop(f"it took longer than {self.member.limit_s:g} s and was stopped")
        if now > self._kill_at:
            # If even that takes too long, the supervisor is killed, and the kernel then kills the run.
            with contextlib.suppress(TimeoutError):
                self._process.close(STOP_MARGIN_S)


def _environment() -> dict[str, str]:
    """Return the environment without a notebook's variables, because a run of a suite is a headless command."""
    return {name: value for name, value in os.environ.items() if name not in {"GAMEDAY_HEADLESS", "GAMEDAY_PORT"}}
