"""What one run says of the gate: a change caught or not, a good run called bad or not. Pure.

Owns the rule; it reads verdict records and starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from kit.model import Status, Verdict
from kit.power.plan import Case, Kind
from kit.suite import Outcome, iso, why
from kit.verdict.gate import KIND_ORDER

REASONS_KEPT_MAX = 5


class Result(StrEnum):
    """What became of a case."""

    CAUGHT = "caught"
    OTHER = "caught by another check"
    SURVIVOR = "survivor"
    QUIET = "no alarm"
    FALSE_ALARM = "false alarm"
    NO_EVIDENCE = "no evidence"
    PENDING = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a case that has ended; `attempt` counts all runs of the case. `fired`: the checks that failed, in the
    gate's own order. `cause`: why its verdict is not believed, empty if it is; `spoiled`: why it was to be repeated.
    `origin`: the suite or folder that it was found in, empty if it was made here.
    """

    case: str
    run_id: str
    attempt: int
    verdict: Verdict
    fired: tuple[str, ...]
    why: str
    reasons: tuple[str, ...]
    cause: str
    spoiled: str
    build: str
    seed: int
    started_at: str | None
    ended_at: str | None
    duration_s: float
    machine: str
    report: str
    log: str
    reproduce: str
    origin: str = ""

    @property
    def speaks(self) -> bool:
        """Whether it is evidence, for whatever it may be."""
        return self.verdict is not Verdict.INVALID and not self.spoiled

    def plain(self) -> dict[str, Any]:
        """For JSON; `from_plain` reads it back."""
        return asdict(self)

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Self:
        known = {**value, "verdict": Verdict(value["verdict"])}
        return cls(**{**known, "fired": tuple(value["fired"]), "reasons": tuple(value["reasons"])})


def of_outcome(outcome: Outcome, case: Case, *, earlier: int) -> Run:
    """The run of a case as its process left it; `earlier`: runs of the case before this session."""
    record = outcome.record
    run = Run(
        case=case.name,
        run_id=outcome.run_id,
        attempt=earlier + outcome.number,
        verdict=outcome.verdict,
        fired=fired(record),
        why=why(outcome),
        reasons=tuple(record["reasons"][:REASONS_KEPT_MAX]),
        cause=outcome.cause,
        spoiled=outcome.spoiled,
        build=record["build"],
        seed=record["seed"],
        started_at=iso(outcome.started_at),
        ended_at=iso(outcome.ended_at),
        duration_s=round(outcome.duration_s, 1),
        machine=str(outcome.pressure or ""),
        report=f"{outcome.run_id}/report.html" if outcome.report else "",
        log=f"{outcome.run_id}.log" if outcome.started_at else "",
        reproduce=record["reproduce"] or outcome.member.command(),
    )
    if record["change"] != case.change:
        return doubted(run, f"its record is of change {record['change']!r}, not {case.change!r}")
    return run


def of_record(record: Mapping[str, Any], case: Case, folder: Path, origin: str) -> Run:
    """A finished run of elsewhere, judged anew from its own evidence."""
    return Run(
        case=case.name,
        run_id=record["run_id"],
        attempt=1,
        verdict=Verdict(record["verdict"]),
        fired=fired(record),
        why=next(iter(record["reasons"]), ""),
        reasons=tuple(record["reasons"][:REASONS_KEPT_MAX]),
        cause="",
        spoiled="",
        build=record["build"],
        seed=record["seed"],
        started_at=record["started_at"],
        ended_at=record["ended_at"],
        duration_s=0.0,
        machine="",
        report=str(folder / "report.html") if (folder / "report.html").is_file() else "",
        log="",
        reproduce=record["reproduce"],
        origin=origin,
    )


def doubted(run: Run, cause: str) -> Run:
    """The same run as no evidence, because of `cause`."""
    return replace(run, verdict=Verdict.INVALID, cause=cause, why=cause, reasons=(cause, *run.reasons))


def fired(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The checks that failed, each once, in the order in which the gate tells of them: wrong money first."""
    rank = {kind.value: place for place, kind in enumerate(KIND_ORDER)}
    failed = [check for check in record["checks"] if check["status"] == Status.FAIL]
    return tuple(dict.fromkeys(check["name"] for check in sorted(failed, key=lambda check: rank[check["kind"]])))


def last_of(runs: Iterable[Run]) -> dict[str, Run]:
    """The run that counts of each case: its last."""
    last: dict[str, Run] = {}
    for run in runs:
        if run.case not in last or run.attempt > last[run.case].attempt:
            last[run.case] = run
    return last


def result(case: Case, run: Run | None) -> Result:
    """What the run that counts says of the gate; None for a case that has not been run."""
    if run is None:
        return Result.PENDING
    if not run.speaks:
        return Result.NO_EVIDENCE
    if case.kind is Kind.GOOD:
        return Result.QUIET if run.verdict is Verdict.PASS else Result.FALSE_ALARM
    if run.verdict is Verdict.FAIL:
        return Result.CAUGHT if set(run.fired) & set(case.caught_by) else Result.OTHER
    # A guardrail that stopped the experiment has judged nothing: the change was neither caught nor passed.
    return Result.SURVIVOR if run.verdict is Verdict.PASS else Result.NO_EVIDENCE


def named(case: Case, run: Run | None) -> Sequence[str]:
    """The checks of the header that failed."""
    return [check for check in case.caught_by if run and check in run.fired]
