"""Write the record of a suite (`gameday.suite/2`, `suite.json`) from its outcomes, and read it back for the gate."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kit import schemas
from kit.errors import EvidenceMissing
from kit.files import read_object, write_json
from kit.model import CheckKind, Status, Verdict
from kit.notebook import run_verdict
from kit.suite.outcome import Outcome
from kit.suite.plan import Plan
from kit.verdict import gate

SCHEMA = "gameday.suite/2"
FILE = "suite.json"
RUNNING, DONE, STOPPED = "running", "done", "stopped"
NOT_ENDED = "the suite has not reported its end: it is still running, or it was killed"


def make(
    plan: Plan,
    outcomes: Sequence[Outcome],
    *,
    state: str,
    started_at: float,
    ended_at: float | None,
    jobs: Mapping[str, Any],
    stopped_by: str = "",
) -> dict[str, Any]:
    """Make the record as JSON types. It is INVALID until the suite has ended: a killed suite leaves it as it is."""
    counted = counting(outcomes)
    runs = [_run(outcome, counts=outcome in counted) for outcome in outcomes]
    reasons = [*_unfinished(state, stopped_by), *_reasons(counted)]
    verdict = gate.worst([*(outcome.verdict for outcome in counted), *([Verdict.INVALID] if state != DONE else [])])
    record = {
        "schema": SCHEMA,
        "suite": plan.suite,
        "suite_id": plan.suite_id,
        "state": state,
        "stopped_by": stopped_by,
        "verdict": verdict.value,
        "reasons": reasons,
        "started_at": iso(started_at),
        "ended_at": iso(ended_at),
        "parameters": {name: str(value) for name, value in plan.parameters.items()},
        "scenarios": [member.scenario for member in plan.members],
        "jobs": dict(jobs),
        "runs": runs,
        "reproduce": plan.reproduce,
    }
    validate(record)
    return record


def validate(record: Any) -> None:
    """Raise EvidenceMissing unless `made` is a `gameday.suite/2` record."""
    schemas.validate(record, "kit.suite", "suite.schema.json")


def counting(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the last outcome of each member, in the order in which the members were first run."""
    last: dict[str, Outcome] = {}
    for outcome in outcomes:
        known = last.get(outcome.member.name)
        if known is None or outcome.attempt > known.attempt:
            last[outcome.member.name] = outcome
    return list(last.values())


def write(record: Mapping[str, Any], folder: Path) -> None:
    """Replace the folder's `suite.json` in one step."""
    write_json(folder / FILE, record)


def is_suite(folder: Path) -> bool:
    """Return whether a folder is that of a suite."""
    return (folder / FILE).is_file()


def judge(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Judge every run of a finished suite that counts from its own evidence; return (folder, verdict record) pairs.

    A run without evidence and a suite that has not ended are INVALID records.
    """
    try:
        suite = read_object(folder / FILE)
        validate(suite)
        runs = [run for run in suite["runs"] if run["counts"]]
        missing = [name for name in suite["scenarios"] if name not in {run["scenario"] for run in runs}]
        found = [(folder / run["run_id"], _judged(folder / run["run_id"], run)) for run in runs]
        unfinished = _unfinished(suite["state"], suite["stopped_by"])
    except EvidenceMissing as error:
        return [(folder, gate.invalid_record(run_id=folder.name, scenario="suite", reasons=[f"{FILE}: {error}"]))]
    gaps = [*unfinished, *(f"scenario {name} was not run" for name in missing)]
    if gaps:
        found.append((folder, gate.invalid_record(run_id=folder.name, scenario=suite["suite"], reasons=gaps)))
    return found


def _judged(run_dir: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    if not run_dir.is_dir():
        return gate.invalid_record(
            run_id=run["run_id"],
            scenario=run["scenario"],
            parameters=run["parameters"],
            reasons=run["reasons"] or ["the run left no folder"],
            reproduce=run["reproduce"],
            unknown=dict.fromkeys(("fault", "load"), "the run left no folder"),
        )
    record = run_verdict.judge_run(run_dir)
    return gate.downgrade(record, [run["downgrade_reason"]]) if run["downgrade_reason"] else record


def _unfinished(state: str, stopped_by: str) -> list[str]:
    if state == RUNNING:
        return [NOT_ENDED]
    return [f"the suite was stopped by {stopped_by or 'an unknown signal'}"] if state == STOPPED else []


def _reasons(counted: Sequence[Outcome]) -> list[str]:
    return [
        f"{outcome.member.scenario}: {main_reason(outcome)}"
        for outcome in counted
        if outcome.verdict is not Verdict.PASS
    ]


def main_reason(outcome: Outcome) -> str:
    """Return the most important reason of a run's verdict, empty for PASS.

    If steady state did not hold, that is the reason: it is why later phases were not measured.
    """
    if outcome.verdict is Verdict.PASS:
        return ""
    unsteady = [
        f"{check['name']}: {check['detail']}"
        for check in outcome.record["checks"]
        if check["kind"] == CheckKind.HYPOTHESIS and check["status"] == Status.INVALID
    ]
    blocked = outcome.verdict is Verdict.INVALID and not outcome.downgrade_reason
    return unsteady[0] if blocked and unsteady else outcome.record["reasons"][0]


def _run(outcome: Outcome, *, counts: bool) -> dict[str, Any]:
    return {
        "scenario": outcome.member.scenario,
        "run_id": outcome.run_id,
        "attempt": outcome.attempt,
        "counts": counts,
        "repeat_reason": outcome.repeat_reason,
        "verdict": outcome.verdict.value,
        "main_reason": main_reason(outcome),
        "reasons": list(outcome.record["reasons"]),
        "downgrade_reason": outcome.downgrade_reason,
        "exit_code": outcome.exit_code,
        "started_at": iso(outcome.started_at),
        "ended_at": iso(outcome.ended_at),
        "duration_s": round(outcome.duration_s, 1),
        "cpu_s": round(outcome.cpu_s, 1),
        "cpu_contention": outcome.contention.plain() if outcome.contention else None,
        "phases": [{"phase": start.phase.value, "at": iso(start.t)} for start in outcome.phases],
        "report": f"{outcome.run_id}/report.html" if outcome.report else "",
        "log": f"{outcome.run_id}.log" if outcome.started_at else "",
        "parameters": dict(outcome.member.parameters),
        "reproduce": outcome.record["reproduce"] or outcome.member.command(),
    }


def iso(at: float | None) -> str | None:
    """Format epoch seconds as ISO 8601 in UTC."""
    if at is None:
        return None
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
