"""Read what a run of a suite left behind, and decide whether its own verdict is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing
from kit.files import read_object
from kit.model import Verdict
from kit.notebook import partial_record
from kit.notebook.run_phases import PhaseStart, RunPhase
from kit.process.cpu_contention import CpuContention
from kit.suite.plan import Member
from kit.verdict import gate

LOG_TAIL_BYTES = 4_096
REASON_CHARS_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A run that has ended.

    `attempt`: 1, or 2 for a repeat. `downgrade_reason`: why the run's own verdict was replaced by INVALID, empty if it
    was not. `repeat_reason`: why it is repeated, empty if it is not.
    """

    member: Member
    run_id: str
    attempt: int
    exit_code: int | None
    downgrade_reason: str
    started_at: float | None
    ended_at: float | None
    phases: tuple[PhaseStart, ...]
    record: dict[str, Any]
    cpu_s: float
    contention: CpuContention | None
    folder: Path
    repeat_reason: str = ""

    @property
    def verdict(self) -> Verdict:
        return Verdict(self.record["verdict"])

    @property
    def duration_s(self) -> float:
        return self.ended_at - self.started_at if self.started_at and self.ended_at else 0.0

    @property
    def measured_window(self) -> tuple[float, float]:
        """From when to when it measured (epoch s): its recorded phases, or all the time since its load began."""
        if phases := self.record["phases"]:
            return phases[0]["from"], phases[-1]["to"]
        steady = [start.t for start in self.phases if start.phase is not RunPhase.DEPLOY]
        return (steady[0], self.ended_at) if steady and self.ended_at else (0.0, 0.0)

    @property
    def report(self) -> Path | None:
        path = self.folder / self.run_id / "report.html"
        return path if path.exists() else None


def not_started(member: Member, folder: Path, reason: str) -> Outcome:
    """Return the outcome of a run that was never started: it broke nothing and sent nothing."""
    record = gate.invalid_record(
        run_id=member.run_id, scenario=member.scenario, parameters=member.parameters, reasons=[reason],
        reproduce=member.command(),
    )  # fmt: skip
    return Outcome(
        member=member, run_id=member.run_id, attempt=1, exit_code=None, downgrade_reason=reason, started_at=None,
        ended_at=None, phases=(), record=record, cpu_s=0.0, contention=None, folder=folder,
    )  # fmt: skip


def accepted_record(
    member: Member, run_id: str, folder: Path, log: Path, *, exit_code: int | None, stop_reason: str
) -> tuple[dict[str, Any], str]:
    """Return the record that counts and the reason why it is INVALID instead of the run's own verdict (else empty).

    `stop_reason`: why the suite stopped the run, empty if it ended by itself.
    """
    record = _read_record(folder / run_id, member, run_id)
    reason = stop_reason or _contradiction(record, exit_code)
    if record is None:
        words = ": ".join(word for word in (reason, _last_log_line(log)) if word)
        made = partial_record.invalid_record(
            folder / run_id, [words], parameters={**member.parameters, "scenario": member.scenario},
            reproduce=member.command(),
        )  # fmt: skip
        return made, reason
    return (gate.downgrade(record, [reason]) if reason else record), reason


def _read_record(run_dir: Path, member: Member, run_id: str) -> dict[str, Any] | None:
    """Read the run's own record; None if there is none, it is not valid, or it is another run's."""
    try:
        record = read_object(run_dir / "verdict.json")
        gate.validate(record)
    except EvidenceMissing:
        return None
    return record if (record["scenario"], record["run_id"]) == (member.scenario, run_id) else None


def _contradiction(record: Mapping[str, Any] | None, exit_code: int | None) -> str:
    """Return how the end of the process contradicts its record; empty if both agree."""
    number = _signal(exit_code)
    ended = f"killed by signal {number}" if number else f"exit code {exit_code}"
    if record is None:
        return f"the run left no verdict ({ended})"
    if Verdict(record["verdict"]).exit_code != exit_code:
        return f"the run ended with {ended}, which does not match its verdict {record['verdict']}"
    return ""


def _signal(exit_code: int | None) -> int:
    """Return the signal that ended a program or (negative) its supervisor, 0 for none."""
    return 0 if exit_code is None else -exit_code if exit_code < 0 else max(0, exit_code - 128)


def _last_log_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:REASON_CHARS_MAX] for line in reversed(lines) if line.strip()), "")
