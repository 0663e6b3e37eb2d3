"""Define checks and turn what they find into findings: pass, fail with one counterexample, or invalid with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kit.errors import EvidenceMissing
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.findings.counterexample import Step, Subject, candidates, timeline
from kit.model import CheckKind, Finding, Status


def _nothing() -> tuple[str, Sequence[Step]]:
    return "", ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check counted. `describe` gives an example in words and its timeline; it is asked only for violations.

    `inconclusive` is the reason why a result without violations is no pass.
    """

    examined: int
    violations: int = 0
    describe: Callable[[], tuple[str, Sequence[Step]]] = _nothing
    inconclusive: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One invariant and its sentences: "all 12 {noun} {hold}", "2 of 12 {noun} {broke}".

    `needs` are tables without whose rows there is no evidence, `reads` tables that may be empty. `timed` checks compare
    clocks: where a clock went backwards they are invalid. Any other check may still fail then, but not pass.
    """

    name: str
    noun: str
    hold: str
    broke: str
    find: Callable[[Evidence], Result]
    needs: tuple[str, ...]
    reads: tuple[str, ...] = ()
    timed: bool = False


class Checks:
    """The checks of one module, in its order."""

    def __init__(self) -> None:
        self._checks: list[Check] = []

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks)

    def add(
        self,
        name: str,
        *,
        noun: str,
        hold: str,
        broke: str,
        needs: tuple[str, ...],
        reads: tuple[str, ...] = (),
        timed: bool = False,
    ) -> Callable[[Callable[[Evidence], Result]], Callable[[Evidence], Result]]:
        """Make a check of the decorated function."""

        def register(find: Callable[[Evidence], Result]) -> Callable[[Evidence], Result]:
            check = Check(
                name=name, noun=noun, hold=hold, broke=broke, find=find, needs=needs, reads=reads, timed=timed
            )
            self._checks.append(check)
            return find

        return register


def run_check(check: Check, evidence: Evidence) -> Finding:
    """Run the check. Returns INVALID where the evidence is not enough for it or the check itself crashed."""
    reason = missing_evidence(check, evidence)
    if reason:
        return invalid(check.name, reason)
    try:
        found = finding_of(check, check.find(evidence))
    except EvidenceMissing as missing:
        return invalid(check.name, str(missing))
    except Exception as error:  # noqa: BLE001 - the one boundary: a check that crashed has judged nothing
        return invalid(check.name, f"the check itself crashed: {type(error).__name__}: {error}")
    reason = clock_defect(check, evidence)
    return invalid(check.name, reason) if reason and found.status is Status.PASS else found


def missing_evidence(check: Check, evidence: Evidence) -> str:
    """Return why the check cannot judge at all, because any violation that it found would be an artefact."""
    for name in (*check.needs, *check.reads):
        if name in evidence.defects:
            return evidence.defects[name]
        if name in check.needs and name != "run" and not len(getattr(evidence, name)):
            return f"{name}: no rows were recorded"
    return clock_defect(check, evidence) if check.timed else ""


def clock_defect(check: Check, evidence: Evidence) -> str:
    """Return why a pass would not count, although a violation would."""
    return next((evidence.clock_defects[name] for name in check.needs if name in evidence.clock_defects), "")


def finding_of(check: Check, result: Result) -> Finding:
    """Tell what a check counted."""
    examined, violations = result.examined, result.violations
    if result.inconclusive and not violations:
        return invalid(check.name, result.inconclusive)
    if not examined:
        return invalid(check.name, f"nothing to check: no {check.noun} in the evidence")
    detail, steps = f"all {examined:,} {check.noun} {check.hold}", ()
    if violations:
        example, steps = result.describe()
        detail = f"{violations:,} of {examined:,} {check.noun} {check.broke}: {example}"
    return Finding(
        name=check.name,
        kind=CheckKind.INTEGRITY,
        status=Status.FAIL if violations else Status.PASS,
        detail=detail,
        measured=violations,
        limit=0,
        unit=check.noun,
        counterexample=tuple(steps),
    )


def invalid(name: str, reason: str) -> Finding:
    return Finding(name=name, kind=CheckKind.INTEGRITY, status=Status.INVALID, detail=reason, limit=0)


def by_order(evidence: Evidence, *, examined: int, bad: np.ndarray, example: Callable[[int], str]) -> Result:
    """Make the result of a check whose violations are orders. `bad` are the numbers of the wrong orders."""
    return _by_number(evidence, examined, bad, bad, example, lambda number: Subject(orders=(number,)))


def by_key(
    evidence: Evidence,
    *,
    examined: int,
    bad: np.ndarray,
    example: Callable[[int], str],
    clearest: np.ndarray | None = None,
) -> Result:
    """Make the result of a check whose violations are (client, key) pairs. `bad` are the numbers of the wrong pairs.

    `clearest` are those among them that make the best counterexample.
    """
    shown = bad if clearest is None else clearest
    return _by_number(evidence, examined, bad, shown, example, lambda number: Subject(keys=(number,)))


def by_row(
    evidence: Evidence,
    *,
    examined: int,
    violations: int,
    example: Callable[[], str],
    subject: Callable[[], Subject],
    inconclusive: str = "",
) -> Result:
    """Make the result of a check whose violations are neither orders nor keys.

    `subject` is what the counterexample shows.
    """
    return Result(
        examined=examined,
        violations=violations,
        describe=lambda: (example(), timeline(evidence, subject())),
        inconclusive=inconclusive,
    )


def _by_number(
    evidence: Evidence,
    examined: int,
    bad: np.ndarray,
    shown: np.ndarray,
    example: Callable[[int], str],
    subject: Callable[[int], Subject],
) -> Result:
    def describe() -> tuple[str, Sequence[Step]]:
        """Describe the first few violations by the shortest timeline, which is the easiest to follow."""
        timelines = [(int(number), timeline(evidence, subject(int(number)))) for number in candidates(np.unique(shown))]
        number, steps = min(timelines, key=lambda one: len(one[1]))
        return example(number), steps

    return Result(examined=examined, violations=len(np.unique(bad)), describe=describe)


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
