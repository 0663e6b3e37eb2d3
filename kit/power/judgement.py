"""Judge a power measurement: from the runs of all cases to rates, lists of names and one verdict.

FAIL: there is a false alarm, or so many mutants were missed that the mutation score cannot reach its minimum even if
every run without evidence had caught its mutant. INVALID: a case has no evidence. Otherwise PASS.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kit.model import Verdict
from kit.power import rates
from kit.power.outcome import Result, Run, last_of, result, without_evidence
from kit.power.plan import Case, Kind
from kit.power.rates import Rate

MUTATION_SCORE_MIN = 0.95
DIGEST_SHOWN = 19
MISSED = frozenset({Result.SURVIVOR, Result.CAUGHT_BY_OTHER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A case with its result and the run that counts, if there is one."""

    case: Case
    run: Run | None
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict with everything that it rests on. `mutation_score` is the headline."""

    verdict: Verdict
    reasons: tuple[str, ...]
    cases: tuple[Judged, ...]
    mutation_score: Rate
    caught_by_any_check: Rate
    false_alarms: Rate

    def names(self, wanted: Result) -> list[str]:
        """Return the names of the cases with that result."""
        return [one.case.name for one in self.cases if one.result is wanted]


def judge(cases: Sequence[Case], runs: Sequence[Run], *, unfinished: str = "", any_build: bool = False) -> Judgement:
    """Judge the last run of each case. `unfinished`: why the measurement has not ended, empty if it has."""
    last = last_of(runs)
    own = set() if any_build else builds(cases, last)
    counted = {name: _of_this_build(run, own) for name, run in last.items()}
    judged = tuple(Judged(case=case, run=(run := counted.get(case.name)), result=result(case, run)) for case in cases)
    changes = [one.result for one in judged if one.case.kind is Kind.CHANGE]
    good = [one.result for one in judged if one.case.kind is Kind.GOOD]
    caught, alarms = changes.count(Result.CAUGHT), good.count(Result.FALSE_ALARM)
    not_run = sum(one.result is Result.NOT_RUN for one in judged)
    gaps = [*([unfinished] if unfinished else []), *_reasons(judged, {Result.NO_EVIDENCE})]
    gaps += [f"{not_run} of {len(judged)} cases were not run"] if not_run else []
    return Judgement(
        verdict=_verdict(changes, alarms=alarms, has_gaps=bool(gaps)),
        reasons=(*_reasons(judged, {Result.FALSE_ALARM}), *_reasons(judged, MISSED), *gaps),
        cases=judged,
        mutation_score=rates.mutation_score(caught, len(changes)),
        caught_by_any_check=rates.caught_by_any_check(caught + changes.count(Result.CAUGHT_BY_OTHER), len(changes)),
        false_alarms=rates.false_alarms(alarms, alarms + good.count(Result.NO_ALARM)),
    )


def builds(cases: Sequence[Case], last: Mapping[str, Run]) -> set[str]:
    """Return the images of the good runs that this measurement made."""
    own = {case.name for case in cases if case.kind is Kind.GOOD and not case.imported}
    return {run.build for name, run in last.items() if name in own and run.is_evidence and run.build}


def _of_this_build(run: Run, own: Collection[str]) -> Run:
    """Remove the evidence of an imported good run of another build than the one that is measured."""
    if not run.origin or not own or run.build in own:
        return run
    return without_evidence(
        run, f"its build is {run.build[:DIGEST_SHOWN]}, not {min(own)[:DIGEST_SHOWN]}, which is measured here"
    )


def _verdict(changes: Sequence[Result], *, alarms: int, has_gaps: bool) -> Verdict:
    possible = len(changes) - sum(one in MISSED for one in changes)
    if alarms or possible < MUTATION_SCORE_MIN * len(changes):
        return Verdict.FAIL
    return Verdict.INVALID if has_gaps else Verdict.PASS


def _reasons(judged: Sequence[Judged], wanted: Collection[Result]) -> Iterator[str]:
    for one in judged:
        if one.result in wanted:
            yield f"{one.result.value}: {one.case.name}{_explanation(one)}"


def _explanation(one: Judged) -> str:
    case, run = one.case, one.run
    assert run is not None, "a case with this result has a run"
    if one.result is Result.SURVIVOR:
        return f": {case.scenario} passed, {' or '.join(case.caught_by)} should have failed"
    if one.result is Result.CAUGHT_BY_OTHER:
        return f": {', '.join(run.failed_checks)} failed, {' or '.join(case.caught_by)} should have"
    reason = f"to be repeated because {run.repeat_reason}" if run.repeat_reason else run.main_reason
    return f": {run.verdict.value}, {reason}"
