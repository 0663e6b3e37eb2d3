"""Run a power measurement: the suite's execution over all cases that lack evidence, and its record.

A lock keeps other processes from running a measurement into the same folder.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit import build, reports, suite
from kit.errors import UsageError
from kit.files.replacement import open_appending
from kit.gameday.parameters import SOURCE
from kit.power import record as power_record
from kit.power.outcome import Result, Run, of_outcome, without_evidence
from kit.power.session import Session
from kit.process.machine import class_of_machine

LOCK = ".running"
PAGE, TABLE = "index.html", "power.md"
TREE_CHANGED = "a change of the source tree"
EXPECTED = frozenset({Result.CAUGHT, Result.NO_ALARM})
# Results that are listed by name at the end, and the record's field that holds them.
LISTS = {
    "survivors": "survivors",
    "caught by another check": "caught_by_other",
    "false alarms": "false_alarms",
    "no evidence": "no_evidence",
    "not run": "not_run",
}


class Measurement:
    """One session of a measurement; call `run` once."""

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
        self._earlier = {name: sum(run.case == name for run in session.existing) for name in self._cases}
        self._runs: list[Run] = list(session.existing)
        self._outcomes_taken = 0
        batch = suite.Plan(
            suite="power",
            suite_id=plan.power_id,
            reports=plan.reports,
            members=tuple(case.member() for case in session.missing()),
            parameters=plan.parameters,
            jobs=plan.jobs,
            reproduce=plan.reproduce,
            kind="measurement",
        )
        self._execution = suite.Execution(batch, say=say, command=command, publish=self._publish)

    def run(self) -> dict[str, Any]:
        """Run the cases that lack evidence and write power.json, index.html and power.md; return the record."""
        with _lock(self._plan.folder):
            return self._execution.run()

    def _publish(self, progress: suite.Progress) -> dict[str, Any]:
        self._take_outcomes(progress)
        record = power_record.make(
            self._plan,
            self._runs,
            power_record.Facts(
                state=progress.state,
                stopped_by=progress.stopped_by,
                started_at=self._session.started_at or suite.iso(progress.started_at) or "",
                ended_at=suite.iso(progress.ended_at),
                resumed=self._session.resumed,
                jobs=progress.jobs,
                machine=class_of_machine(),
            ),
        )
        power_record.write(record, self._plan.folder)
        reports.write_power_html(record, self._plan.folder / PAGE)
        reports.write_power_markdown(record, self._plan.folder / TABLE)
        return record

    def _take_outcomes(self, progress: suite.Progress) -> None:
        """Add the runs that have ended since the last call; a run that was never started is not added."""
        fresh = progress.outcomes[self._outcomes_taken :]
        self._outcomes_taken += len(fresh)
        changed = bool(fresh) and build.digest_of(self._source) != self._plan.source_tree
        for outcome in fresh:
            if outcome.started_at is None:
                continue
            case = self._cases[outcome.member.name]
            run = of_outcome(outcome, case, earlier=self._earlier[case.name])
            self._runs.append(without_evidence(run, f"{TREE_CHANGED} while it was measured") if changed else run)
        if changed:
            # Later runs would have another build and could not be counted with the others.
            self._execution.stop(TREE_CHANGED)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Lock the folder; the kernel releases it when this process ends. Raises UsageError if it is locked."""
    with open_appending(folder / LOCK) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{folder} is in use: another process runs this measurement") from error
        yield


def table(record: dict[str, Any], folder: Path) -> Iterator[str]:
    """Summarize a measurement: a line per case with its result, then survivors by name and the rates in words."""
    cases = {case["name"]: case for case in record["cases"]}
    runs = {(run["case"], run["run_id"]): run for run in record["runs"]}
    for one in (one for one in record["results"] if one["result"] != Result.NOT_RUN):
        case, run = cases[one["case"]], runs.get((one["case"], one["run_id"]))
        reason = ", ".join(one["failed_checks"]) or one["main_reason"]
        yield f"{case['name']:<30} {case['scenario']:<20} {one['result']:<23} {reason}"
        if run and one["result"] not in EXPECTED and (where := run["report"] or run["log"]):
            yield f"    {folder / where}"
    yield ""
    for label, key in LISTS.items():
        if record[key]:
            yield f"{label}: {', '.join(record[key])}"
    for rate in record["rates"].values():
        yield rate["words"]
