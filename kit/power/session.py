"""Begin a power measurement, or resume an earlier one.

An earlier measurement is resumed only if the source tree and the bad changes are still what its runs were made with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit import build, suite
from kit.build import read_change_header
from kit.errors import EvidenceMissing, UsageError
from kit.files import read_object
from kit.gameday.parameters import CHANGES, SOURCE
from kit.power import earlier_runs
from kit.power.outcome import Run, last_of
from kit.power.plan import Case, Kind, Plan, make
from kit.power.record import FILE, is_power, load
from kit.verdict import gate

LATEST = "latest"
DIGEST_SHOWN = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A plan and the runs that exist already. `started_at`: when the first session started."""

    plan: Plan
    existing: tuple[Run, ...] = ()
    started_at: str = ""
    resumed: int = 0

    def missing(self) -> tuple[Case, ...]:
        """Return the cases that need a run; imported cases cannot be run."""
        last = last_of(self.existing)
        return tuple(
            case
            for case in self.plan.cases
            if not case.imported and not ((run := last.get(case.name)) and matches_folder(run, self.plan.folder, case))
        )


def begin(*, reports: Path, import_from: Sequence[Path] = (), any_build: bool = False, **options: Any) -> Session:
    """Begin a new measurement. Raises UsageError.

    `import_from`: folders of good runs that exist. `options`: as `plan.make` takes them.
    """
    good = earlier_runs.good_runs(import_from, any_build=any_build)
    plan = make(reports=reports, imported=[case for case, _ in good], any_build=any_build, **options)
    existing = tuple(replace(run, report=earlier_runs.relative(run, plan.folder)) for _, run in good)
    return Session(plan=plan, existing=existing)


def reopen(
    which: str, *, reports: Path, jobs: str = suite.JOBS_AUTO, source: Path = SOURCE, changes_dir: Path = CHANGES
) -> Session:
    """Resume the measurement in a folder, or the latest below `reports`.

    Raises UsageError if there is none, or if the source tree or a bad change has changed since.
    """
    folder = _folder(which, reports)
    try:
        before = load(folder)
    except EvidenceMissing as error:
        raise UsageError(f"--resume {which}: {error}") from error
    plan = Plan(
        power_id=before["power_id"],
        reports=folder.parent,
        cases=tuple(Case.from_plain(case) for case in before["cases"]),
        parameters=before["parameters"],
        jobs=suite.parse_jobs(jobs),
        source_tree=before["source_tree"],
        any_build=before["any_build"],
        reproduce=before["reproduce"],
    )
    for difference in _differences(plan, source, changes_dir):
        raise UsageError(f"--resume {folder.name}: {difference}; start a new measurement")
    return Session(
        plan=plan,
        existing=tuple(Run.from_plain(run) for run in before["runs"]),
        started_at=before["started_at"],
        resumed=before["resumed"] + 1,
    )


def matches_folder(run: Run, folder: Path, case: Case) -> bool:
    """Return whether a run is evidence and its folder still holds the verdict that the record has."""
    if not run.is_evidence:
        return False
    try:
        record = read_object(folder / run.run_id / "verdict.json")
        gate.validate(record)
    except EvidenceMissing:
        return False
    return (record["verdict"], record["run_id"], record["change"]) == (run.verdict, run.run_id, case.change)


def _folder(which: str, reports: Path) -> Path:
    if which == LATEST:
        known = sorted(reports.glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime)
        if not known:
            raise UsageError(f"--resume {LATEST}: there is no {FILE} below {reports}")
        return known[-1].parent.resolve()
    for folder in (Path(which), reports / which):
        if is_power(folder):
            return folder.resolve()
    raise UsageError(f"--resume {which}: no folder with a {FILE}, neither as given nor below {reports}")


def _differences(plan: Plan, source: Path, changes_dir: Path) -> Iterator[str]:
    now = build.digest_of(source)
    if now != plan.source_tree:
        yield f"the source tree is {now[:DIGEST_SHOWN]}, but its runs were made with {plan.source_tree[:DIGEST_SHOWN]}"
    for case in plan.cases:
        if case.kind is Kind.CHANGE and read_change_header(case.change, changes_dir).digest != case.digest:
            yield f"change {case.change} has changed since its runs were planned"
