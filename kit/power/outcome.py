"""Decide what one run shows about the gate: a mutant caught or missed, a good run passed or rejected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from kit.model import Status, Verdict
from kit.power.plan import Case, Kind
from kit.suite import Outcome, iso, main_reason
from kit.verdict.gate import KIND_ORDER

REASONS_KEPT_MAX = 5


class Result(StrEnum):
    """The result of a case."""

    CAUGHT = "caught"
    CAUGHT_BY_OTHER = "caught by another check"
    SURVIVOR = "survivor"
    NO_ALARM = "no alarm"
    FALSE_ALARM = "false alarm"
    NO_EVIDENCE = "no evidence"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a case that has ended; `attempt` counts all runs of the case.

    `failed_checks`: in the gate's order. `downgrade_reason`: why its own verdict was replaced by INVALID, empty if it
    was not. `repeat_reason`: why it was to be repeated. `cpu_contention`: in words, while it was measured. `origin`:
    the suite or folder that it was imported from, empty if this measurement made it.
    """

    case: str
    run_id: str
    attempt: int
    verdict: Verdict
    failed_checks: tuple[str, ...]
    main_reason: str
    reasons: tuple[str, ...]
    downgrade_reason: str
    repeat_reason: str
    build: str
    seed: int
    started_at: str | None
    ended_at: str | None
    duration_s: float
    cpu_contention: str
    report: str
    log: str
    reproduce: str
    origin: str = ""

    @property
    def is_evidence(self) -> bool:
        """Whether the run shows anything about the gate."""
        return self.verdict is not Verdict.INVALID and not self.repeat_reason

    def plain(self) -> dict[str, Any]:
        """Return the JSON form; `from_plain` reads it back."""
        return asdict(self)

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Self:
        known = {**value, "verdict": Verdict(value["verdict"])}
        return cls(**{**known, "failed_checks": tuple(value["failed_checks"]), "reasons": tuple(value["reasons"])})


def of_outcome(outcome: Outcome, case: Case, *, earlier: int) -> Run:
    """Make the run of a case from its process's outcome; `earlier`: how many runs the case had before this session."""
    record = outcome.record
    run = Run(
        case=case.name,
        run_id=outcome.run_id,
        attempt=earlier + outcome.attempt,
        verdict=outcome.verdict,
        failed_checks=failed_checks(record),
        main_reason=main_reason(outcome),
        reasons=tuple(record["reasons"][:REASONS_KEPT_MAX]),
        downgrade_reason=outcome.downgrade_reason,
        repeat_reason=outcome.repeat_reason,
        build=record["build"],
        seed=record["seed"],
        started_at=iso(outcome.started_at),
        ended_at=iso(outcome.ended_at),
        duration_s=round(outcome.duration_s, 1),
        cpu_contention=str(outcome.contention or ""),
        report=f"{outcome.run_id}/report.html" if outcome.report else "",
        log=f"{outcome.run_id}.log" if outcome.started_at else "",
        reproduce=record["reproduce"] or outcome.member.command(),
    )
    if record["change"] != case.change:
        return without_evidence(run, f"its record has change {record['change']!r}, not {case.change!r}")
    return run


def of_record(record: Mapping[str, Any], case: Case, folder: Path, origin: str) -> Run:
    """Make the run of a case from an imported verdict record."""
    return Run(
        case=case.name,
        run_id=record["run_id"],
        attempt=1,
        verdict=Verdict(record["verdict"]),
        failed_checks=failed_checks(record),
        main_reason=next(iter(record["reasons"]), ""),
        reasons=tuple(record["reasons"][:REASONS_KEPT_MAX]),
        downgrade_reason="",
        repeat_reason="",
        build=record["build"],
        seed=record["seed"],
        started_at=record["started_at"],
        ended_at=record["ended_at"],
        duration_s=0.0,
        cpu_contention="",
        report=str(folder / "report.html") if (folder / "report.html").is_file() else "",
        log="",
        reproduce=record["reproduce"],
        origin=origin,
    )


def without_evidence(run: Run, reason: str) -> Run:
    """Return the run downgraded to INVALID for `reason`."""
    reasons = (reason, *run.reasons)
    return replace(run, verdict=Verdict.INVALID, downgrade_reason=reason, main_reason=reason, reasons=reasons)


def failed_checks(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the checks that failed, each once, in the gate's order: wrong money first."""
    rank = {kind.value: index for index, kind in enumerate(KIND_ORDER)}
    failed = [check for check in record["checks"] if check["status"] == Status.FAIL]
    return tuple(dict.fromkeys(check["name"] for check in sorted(failed, key=lambda check: rank[check["kind"]])))


def last_of(runs: Iterable[Run]) -> dict[str, Run]:
    """Return the last run of each case, which is the one that counts."""
    last: dict[str, Run] = {}
    for run in runs:
        if run.case not in last or run.attempt > last[run.case].attempt:
            last[run.case] = run
    return last


def result(case: Case, run: Run | None) -> Result:
    """Return the result of a case from the run that counts; None for a case that has not been run."""
    if run is None:
        return Result.NOT_RUN
    if not run.is_evidence:
        return Result.NO_EVIDENCE
    if case.kind is Kind.GOOD:
        return Result.NO_ALARM if run.verdict is Verdict.PASS else Result.FALSE_ALARM
    if run.verdict is Verdict.FAIL:
        return Result.CAUGHT if set(run.failed_checks) & set(case.caught_by) else Result.CAUGHT_BY_OTHER
    # A guardrail that stops an experiment judges nothing: the mutant is neither caught nor a survivor.
    return Result.SURVIVOR if run.verdict is Verdict.PASS else Result.NO_EVIDENCE


def expected_failed(case: Case, run: Run | None) -> Sequence[str]:
    """Return those of the failed checks that the header of the mutant names."""
    return [check for check in case.caught_by if run and check in run.failed_checks]
