"""Judge a finished measurement again for the gate, by the rule that judged it at its end.

The verdict in power.json is not used. A run counts only if the verdict in its own folder is the recorded one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.errors import EvidenceMissing
from kit.model import Verdict
from kit.power import record as power_record
from kit.power.judgement import judge
from kit.power.outcome import Run, without_evidence
from kit.power.plan import Case
from kit.power.session import matches_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The verdict on a measurement's folder. `words`: one line for each rate."""

    folder: Path
    verdict: Verdict
    reasons: tuple[str, ...]
    words: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Write the verdict, its reasons and the rates."""
        yield f"{self.verdict.value}  power  {self.folder.name}"
        yield from (f"  - {reason}" for reason in self.reasons)
        yield from (f"  {words}" for words in self.words)


def review(folder: Path) -> Review:
    """Judge a measurement's folder; a record that cannot be read is INVALID."""
    try:
        record = power_record.load(folder)
    except EvidenceMissing as error:
        return Review(folder=folder, verdict=Verdict.INVALID, reasons=(str(error),))
    cases = {case.name: case for case in map(Case.from_plain, record["cases"])}
    runs = [_checked(Run.from_plain(run), folder, cases) for run in record["runs"]]
    unfinished = power_record.unfinished(record["state"], record["stopped_by"])
    judgement = judge(tuple(cases.values()), runs, unfinished=unfinished, any_build=record["any_build"])
    rates = (judgement.mutation_score, judgement.caught_by_any_check, judgement.false_alarms)
    words = tuple(rate.words for rate in rates)
    return Review(folder=folder, verdict=judgement.verdict, reasons=judgement.reasons, words=words)


def _checked(run: Run, folder: Path, cases: dict[str, Case]) -> Run:
    """Downgrade a run whose folder contradicts the record. Imported runs have no folder here and are not checked."""
    case = cases.get(run.case)
    if case is None or case.imported or not run.is_evidence or matches_folder(run, folder, case):
        return run
    return without_evidence(run, f"{folder / run.run_id} does not agree with {power_record.FILE}")
