"""A measurement of power while it runs: the suite's execution over all cases that lack evidence, and its record.

Owns the folder as long as it runs: nobody else may go on with it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit import build, reports, suite
from kit.errors import UsageError
from kit.gameday.parameters import SOURCE
from kit.power import record
from kit.power.outcome import Result, Run, doubted, of_outcome
from kit.power.session import Session
from kit.process.machine import class_of_machine

LOCK = ".running"
PAGE, TABLE = "index.html", "power.md"
TREE_CHANGED = "a change of the source tree"
EXPECTED = frozenset({Result.CAUGHT, Result.QUIET})
# What is listed by name at the end, and where the record has it.
LISTS = {
    "survivors": "survivors",
    "caught by another check": "caught_by_other",
    "false alarms": "alarms",
    "no evidence": "silent",
    "not run": "pending",
}


class Measurement:
    """One session of it. `run` does it all, once."""

    def __init__(
        self,
        session: Session,
        *,
        say: Callable[[str], None],
        command: Sequence[str] = suite.COMMAND,
        source: Path = SOURCE,
    ) -> None:
        plan = self._plan = session.plan
        self._session = session
        self._source = source
        self._cases = {case.name: case for case in plan.cases}
        self._earlier = {name: sum(run.case == name for run in session.carried) for name in self._cases}
        self._runs: list[Run] = list(session.carried)
        self._seen = 0
        batch = suite.Plan(
            suite="power",
            suite_id=plan.power_id,
            reports=plan.reports,
            members=tuple(case.member() for case in session.missing()),
            given=plan.given,
            jobs=plan.jobs,
            reproduce=plan.reproduce,
            kind="measurement",
        )
        self._execution = suite.Execution(batch, say=say, command=command, publish=self._publish)

    def run(self) -> dict[str, Any]:
        """Run what is missing and leave power.json, index.html and power.md; the record."""
        with _alone(self._plan.folder):
            return self._execution.run()

    def _publish(self, progress: suite.Progress) -> dict[str, Any]:
        self._take(progress)
        made = record.make(
            self._plan,
            self._runs,
            record.Facts(
                state=progress.state,
                stopped_by=progress.stopped_by,
                started_at=self._session.started_at or suite.iso(progress.started_at) or "",
                ended_at=suite.iso(progress.ended_at),
                resumed=self._session.resumed,
                jobs=progress.jobs,
                machine=class_of_machine(),
            ),
        )
        record.write(made, self._plan.folder)
        reports.write_power_html(made, self._plan.folder / PAGE)
        reports.write_power_markdown(made, self._plan.folder / TABLE)
        return made

    def _take(self, progress: suite.Progress) -> None:
        """Add the runs that have ended since; a run that never began leaves its case as it was."""
        fresh = progress.outcomes[self._seen :]
        self._seen += len(fresh)
        changed = bool(fresh) and build.digest_of(self._source) != self._plan.tree
        for outcome in fresh:
            if outcome.started_at is None:
                continue
            case = self._cases[outcome.member.name]
            run = of_outcome(outcome, case, earlier=self._earlier[case.name])
            self._runs.append(doubted(run, f"{TREE_CHANGED} while it was measured") if changed else run)
        if changed:
            # What would follow is of another build: no run of it could be counted with the others.
            self._execution.stop(TREE_CHANGED)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder; the kernel lets it go with this process, however that ends. Raises UsageError if it is held."""
    with (folder / LOCK).open("a", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{folder} is measured by another process at this moment") from error
        yield


def table(made: dict[str, Any], folder: Path) -> Iterator[str]:
    """The lines that end a measurement: case, result, checks; then survivors by name and the rates in words."""
    cases = {case["name"]: case for case in made["cases"]}
    runs = {(run["case"], run["run_id"]): run for run in made["runs"]}
    for one in (one for one in made["results"] if one["result"] != Result.PENDING):
        case, run = cases[one["case"]], runs.get((one["case"], one["run_id"]))
        told = ", ".join(one["fired"]) or one["why"]
        yield f"{case['name']:<30} {case['scenario']:<20} {one['result']:<23} {told}"
        if run and one["result"] not in EXPECTED and (where := run["report"] or run["log"]):
            yield f"    {folder / where}"
    yield ""
    for label, key in LISTS.items():
        if made[key]:
            yield f"{label}: {', '.join(made[key])}"
    for rate in made["rates"].values():
        yield rate["words"]
