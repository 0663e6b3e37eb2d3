"""What a check is and how it answers: pass, fail with one story, or invalid with a reason.

Owns the wording that all integrity findings share; knows no invariant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kit.integrity.evidence.tables import Evidence
from kit.integrity.findings.counterexample import Story, candidates, story
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
    return _answer(wording, evidence, examined, bad, bad, example, lambda number: Story(orders=(number,)))


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
    return _answer(wording, evidence, examined, bad, shown, example, lambda number: Story(keys=(number,)))


def by_row(
    wording: Wording,
    evidence: Evidence,
    *,
    examined: int,
    violations: int,
    example: Callable[[], str],
    subject: Callable[[], Story],
) -> Finding:
    """The answer where a violation is no order of its own; `subject` is asked only if there is one."""
    if not examined:
        return wording.nothing()
    if not violations:
        return wording.passed(examined)
    return wording.failed(examined, violations, example(), story(evidence, subject()))


def _answer(
    wording: Wording,
    evidence: Evidence,
    examined: int,
    bad: np.ndarray,
    tell: np.ndarray,
    example: Callable[[int], str],
    subject: Callable[[int], Story],
) -> Finding:
    if not examined:
        return wording.nothing()
    bad = np.unique(np.asarray(bad, dtype="int64"))
    if not bad.size:
        return wording.passed(examined)
    # The shortest story of the first few tells it best.
    told = [(number, story(evidence, subject(int(number)))) for number in candidates(np.unique(tell))]
    number, steps = min(told, key=lambda one: len(one[1]))
    return wording.failed(examined, int(bad.size), example(int(number)), steps)


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
