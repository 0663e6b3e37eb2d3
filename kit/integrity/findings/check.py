"""What a check is and how it answers: pass, fail with one story, or invalid with a reason.

Owns the wording that all integrity findings share; knows no invariant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kit.integrity.evidence.evidence import Evidence
from kit.integrity.findings.counterexample import Subject, candidates, timeline
from kit.model import CheckKind, Finding, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One invariant. `needs` are tables without whose rows there is no evidence, `reads` tables that may be empty.

    `timed` checks compare clocks: where one went backwards they have no evidence at all. Any other check may still
    fail then, but not pass.
    """

    name: str
    find: Callable[[Evidence], Finding]
    needs: tuple[str, ...]
    reads: tuple[str, ...] = ()
    timed: bool = False


def finding(name: str, status: Status, detail: str, **more: object) -> Finding:
    return Finding(name=name, kind=CheckKind.INTEGRITY, status=status, detail=detail, **more)  # type: ignore[arg-type]


def invalid(name: str, reason: str) -> Finding:
    return finding(name, Status.INVALID, reason, limit=0)


def run_check(check: Check, evidence: Evidence) -> Finding:
    """The check's finding; INVALID where the evidence is not enough for it or the check itself crashed."""
    reason = _missing_evidence(check, evidence)
    if reason:
        return invalid(check.name, reason)
    try:
        found = check.find(evidence)
    except Exception as error:  # noqa: BLE001 - the one boundary: a checker that crashed has judged nothing
        return invalid(check.name, f"the check itself crashed: {type(error).__name__}: {error}")
    reason = _clock_defect(check, evidence)
    return invalid(check.name, reason) if reason and found.status is Status.PASS else found


def _missing_evidence(check: Check, evidence: Evidence) -> str:
    """Why the check cannot judge at all: any violation that it found would be an artefact."""
    for name in (*check.needs, *check.reads):
        if name in evidence.defects:
            return evidence.defects[name]
        if name in check.needs and name != "run" and not len(getattr(evidence, name)):
            return f"{name}: no rows were recorded"
    return _clock_defect(check, evidence) if check.timed else ""


def _clock_defect(check: Check, evidence: Evidence) -> str:
    """Why a pass would not count, although a violation would."""
    return next((evidence.clock_defects[name] for name in check.needs if name in evidence.clock_defects), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The sentences of one check: "all 12 {noun} {hold}", "2 of 12 {noun} {broke}"."""

    name: str
    noun: str
    hold: str
    broke: str
    unit: str = ""

    def nothing(self) -> Finding:
        return invalid(self.name, f"nothing to check: no {self.noun} in the evidence")

    def passed(self, examined: int) -> Finding:
        detail = f"all {examined:,} {self.noun} {self.hold}"
        return finding(self.name, Status.PASS, detail, measured=0, limit=0, unit=self.unit or self.noun)

    def failed(self, examined: int, violations: int, example: str, steps: Sequence[dict]) -> Finding:
        return finding(
            self.name,
            Status.FAIL,
            f"{violations:,} of {examined:,} {self.noun} {self.broke}: {example}",
            measured=violations,
            limit=0,
            unit=self.unit or self.noun,
            counterexample=tuple(steps),
        )


def by_order(
    wording: Wording, evidence: Evidence, *, examined: int, bad: np.ndarray, example: Callable[[int], str]
) -> Finding:
    """The answer where `bad` are numbers of the orders that break the invariant."""
    return _answer(wording, evidence, examined, bad, bad, example, lambda number: Subject(orders=(number,)))


def by_key(
    wording: Wording,
    evidence: Evidence,
    *,
    examined: int,
    bad: np.ndarray,
    example: Callable[[int], str],
    tell: np.ndarray | None = None,
) -> Finding:
    """The answer where `bad` are numbers of the (client, key) pairs that break the invariant. `tell` are those among
    them that show it best.
    """
    shown = bad if tell is None else tell
    return _answer(wording, evidence, examined, bad, shown, example, lambda number: Subject(keys=(number,)))


def by_row(
    wording: Wording,
    evidence: Evidence,
    *,
    examined: int,
    violations: int,
    example: Callable[[], str],
    subject: Callable[[], Subject],
) -> Finding:
    """The answer where a violation is no order of its own; `subject` is asked only if there is one."""
    if not examined:
        return wording.nothing()
    if not violations:
        return wording.passed(examined)
    return wording.failed(examined, violations, example(), timeline(evidence, subject()))


def _answer(
    wording: Wording,
    evidence: Evidence,
    examined: int,
    bad: np.ndarray,
    tell: np.ndarray,
    example: Callable[[int], str],
    subject: Callable[[int], Subject],
) -> Finding:
    if not examined:
        return wording.nothing()
    bad = np.unique(np.asarray(bad, dtype="int64"))
    if not bad.size:
        return wording.passed(examined)
    # The shortest story of the first few tells it best.
    told = [(number, timeline(evidence, subject(int(number)))) for number in candidates(np.unique(tell))]
    number, steps = min(told, key=lambda one: len(one[1]))
    return wording.failed(examined, int(bad.size), example(int(number)), steps)


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
