"""A finished measurement read back for the gate, by the same rule that ended it.

What power.json says of itself is not believed: its verdict is made anew, and a run counts only if its own folder still
says the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.errors import EvidenceMissing
from kit.model import Verdict
from kit.power import record
from kit.power.judgement import judge
from kit.power.outcome import Run, doubted
from kit.power.plan import Case
from kit.power.session import believable


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """`words`: the rates, in a sentence each."""

    folder: Path
    verdict: Verdict
    reasons: tuple[str, ...]
    words: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """The verdict, why, and what was measured."""
        yield f"{self.verdict.value}  power  {self.folder.name}"
        yield from (f"  - {reason}" for reason in self.reasons)
        yield from (f"  {words}" for words in self.words)


def review(folder: Path) -> Review:
    """FAIL, INVALID or PASS of a measurement's folder; a record that cannot be read is INVALID."""
    try:
        made = record.load(folder)
    except EvidenceMissing as error:
        return Review(folder=folder, verdict=Verdict.INVALID, reasons=(str(error),))
    cases = {case.name: case for case in map(Case.from_plain, made["cases"])}
    runs = [_checked(Run.from_plain(run), folder, cases) for run in made["runs"]]
    unfinished = record.unfinished(made["state"], made["stopped_by"])
    found = judge(tuple(cases.values()), runs, unfinished=unfinished, any_build=made["any_build"])
    rates = (found.caught, found.noticed, found.false_alarms)
    words = tuple(rate.words for rate in rates)
    return Review(folder=folder, verdict=found.verdict, reasons=found.reasons, words=words)


def _checked(run: Run, folder: Path, cases: dict[str, Case]) -> Run:
    """What was found elsewhere has no folder here, and what is no evidence needs none."""
    case = cases.get(run.case)
    if case is None or case.found or not run.speaks or believable(run, folder, case):
        return run
    return doubted(run, f"{folder / run.run_id} does not say what {record.FILE} says of it")
