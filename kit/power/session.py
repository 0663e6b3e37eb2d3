"""A measurement that begins, or goes on where an earlier one ended: its plan, and the runs that it has already.

Goes on only where nothing has changed that the earlier runs were made with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit import build, suite
from kit.build import read_header
from kit.errors import EvidenceMissing, UsageError
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
    """`carried`: runs of earlier sessions, and those that were earlier_runs. `started_at`: of the first one."""

    plan: Plan
    carried: tuple[Run, ...] = ()
    started_at: str = ""
    resumed: int = 0

    def missing(self) -> tuple[Case, ...]:
        """The cases without a run that can be believed; what was found cannot be run again."""
        last = last_of(self.carried)
        return tuple(
            case
            for case in self.plan.cases
            if not case.found and not ((run := last.get(case.name)) and believable(run, self.plan.folder, case))
        )


def begin(*, reports: Path, made: Sequence[Path] = (), any_build: bool = False, **options: Any) -> Session:
    """A new one; `made`: folders of good runs that exist, `options`: as `plan.make` takes them. Raises UsageError."""
    good = earlier_runs.good_runs(made, any_build=any_build)
    plan = make(reports=reports, found=[case for case, _ in good], any_build=any_build, **options)
    carried = tuple(replace(run, report=earlier_runs.relative(run, plan.folder)) for _, run in good)
    return Session(plan=plan, carried=carried)


def reopen(
    which: str, *, reports: Path, jobs: str = suite.JOBS_AUTO, source: Path = SOURCE, changes_dir: Path = CHANGES
) -> Session:
    """Go on with a folder, or with the latest below `reports`.

    Raises UsageError if there is none, or if the source tree or a change of it is not what it was.
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
        given=before["given"],
        jobs=suite.places(jobs),
        tree=before["tree"],
        any_build=before["any_build"],
        reproduce=before["reproduce"],
    )
    for difference in _differences(plan, source, changes_dir):
        raise UsageError(f"--resume {folder.name}: {difference}; begin a new one")
    return Session(
        plan=plan,
        carried=tuple(Run.from_plain(run) for run in before["runs"]),
        started_at=before["started_at"],
        resumed=before["resumed"] + 1,
    )


def believable(run: Run, folder: Path, case: Case) -> bool:
    """Whether an earlier session's run needs no other: it is evidence, and its folder still says the same."""
    if not run.speaks:
        return False
    try:
        kept = json.loads((folder / run.run_id / "verdict.json").read_text(encoding="utf-8"))
        gate.validate(kept)
    except (OSError, ValueError, EvidenceMissing):
        return False
    return (kept["verdict"], kept["run_id"], kept["change"]) == (run.verdict, run.run_id, case.change)


def _folder(which: str, reports: Path) -> Path:
    if which == LATEST:
        known = sorted(reports.glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime)
        if not known:
            raise UsageError(f"--resume {LATEST}: there is no {FILE} below {reports}")
        return known[-1].parent.resolve()
    for folder in (Path(which), reports / which):
        if is_power(folder):
            return folder.resolve()
    raise UsageError(f"--resume {which}: no folder with a {FILE}, neither as it is nor below {reports}")


def _differences(plan: Plan, source: Path, changes_dir: Path) -> Iterator[str]:
    now = build.digest_of(source)
    if now != plan.tree:
        yield f"the source tree is {now[:DIGEST_SHOWN]}, its runs were made with {plan.tree[:DIGEST_SHOWN]}"
    for case in plan.cases:
        if case.kind is Kind.CHANGE and read_header(case.change, changes_dir).digest != case.digest:
            yield f"change {case.change} is not what its runs were planned with"
