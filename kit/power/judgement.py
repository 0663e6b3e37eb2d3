"""From the runs of all cases to rates, names and one verdict. Pure.

FAIL: a good run was called bad, or so many changes were not caught by their own checks that the share cannot reach what
is asked for, whatever the runs without evidence would have said. INVALID: something gave no evidence. Else PASS.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kit.model import Verdict
from kit.power import rates
from kit.power.outcome import Result, Run, doubted, last_of, result
from kit.power.plan import Case, Kind
from kit.power.rates import Rate

CAUGHT_SHARE_MIN = 0.95
DIGEST_SHOWN = 19
MISSED = frozenset({Result.SURVIVOR, Result.OTHER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A case and the run that counts, if there is one."""

    case: Case
    run: Run | None
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """`caught`: by a check of their header, the headline; `noticed`: by whichever check."""

    verdict: Verdict
    reasons: tuple[str, ...]
    cases: tuple[Judged, ...]
    caught: Rate
    noticed: Rate
    false_alarms: Rate

    def names(self, wanted: Result) -> list[str]:
        """The cases of which that became."""
        return [one.case.name for one in self.cases if one.result is wanted]


def judge(cases: Sequence[Case], runs: Sequence[Run], *, unfinished: str = "", any_build: bool = False) -> Judgement:
    """`unfinished`: why the measurement has not come to its end, empty if it has."""
    last = last_of(runs)
    own = set() if any_build else builds(cases, last)
    counted = {name: _of_this_build(run, own) for name, run in last.items()}
    judged = tuple(Judged(case=case, run=(run := counted.get(case.name)), result=result(case, run)) for case in cases)
    changes = [one.result for one in judged if one.case.kind is Kind.CHANGE]
    good = [one.result for one in judged if one.case.kind is Kind.GOOD]
    by_name, alarms = changes.count(Result.CAUGHT), good.count(Result.FALSE_ALARM)
    pending = sum(one.result is Result.PENDING for one in judged)
    gaps = [*([unfinished] if unfinished else []), *_told(judged, {Result.NO_EVIDENCE})]
    gaps += [f"{pending} of {len(judged)} cases were not run"] if pending else []
    return Judgement(
        verdict=_verdict(changes, alarms=alarms, has_gaps=bool(gaps)),
        reasons=(*_told(judged, {Result.FALSE_ALARM}), *_told(judged, MISSED), *gaps),
        cases=judged,
        caught=rates.caught(by_name, len(changes)),
        noticed=rates.caught(by_name + changes.count(Result.OTHER), len(changes), by=" by whichever check"),
        false_alarms=rates.false_alarms(alarms, alarms + good.count(Result.QUIET)),
    )


def builds(cases: Sequence[Case], last: Mapping[str, Run]) -> set[str]:
    """The images of the good runs that were made here."""
    own = {case.name for case in cases if case.kind is Kind.GOOD and not case.found}
    return {run.build for name, run in last.items() if name in own and run.speaks and run.build}


def _of_this_build(run: Run, own: Collection[str]) -> Run:
    """A good run that was found says nothing of another build than the one that is measured."""
    if not run.origin or not own or run.build in own:
        return run
    return doubted(run, f"made with build {run.build[:DIGEST_SHOWN]}, not {min(own)[:DIGEST_SHOWN]} as measured here")


def _verdict(changes: Sequence[Result], *, alarms: int, has_gaps: bool) -> Verdict:
    possible = len(changes) - sum(one in MISSED for one in changes)
    if alarms or possible < CAUGHT_SHARE_MIN * len(changes):
        return Verdict.FAIL
    return Verdict.INVALID if has_gaps else Verdict.PASS


def _told(judged: Sequence[Judged], wanted: Collection[Result]) -> Iterator[str]:
    for one in judged:
        if one.result in wanted:
            yield f"{one.result.value}: {one.case.name}{_because(one)}"


def _because(one: Judged) -> str:
    case, run = one.case, one.run
    assert run is not None, "only what was run is told of"
    if one.result is Result.SURVIVOR:
        return f": {case.scenario} passed, {' or '.join(case.caught_by)} should have failed"
    if one.result is Result.OTHER:
        return f": {', '.join(run.fired)} failed, {' or '.join(case.caught_by)} should have"
    return f": {run.verdict.value}, {f'to be repeated because {run.spoiled}' if run.spoiled else run.why}"
