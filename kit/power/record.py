"""Write and read the record of a power measurement (`gameday.power/2`, `power.json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kit import schemas, suite
from kit.errors import EvidenceMissing
from kit.files import read_object, write_json
from kit.power.judgement import Judged, Judgement, builds, judge
from kit.power.outcome import Result, Run, expected_failed, last_of
from kit.power.plan import Plan
from kit.power.rates import Rate

SCHEMA = "gameday.power/2"
FILE = "power.json"
NOT_ENDED = "it has not reported its end: it is still running, or it was killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the record holds beside the plan and the runs. `resumed`: how often the measurement was resumed."""

    state: str
    stopped_by: str
    started_at: str
    ended_at: str | None
    resumed: int
    jobs: Mapping[str, Any]
    machine: Mapping[str, Any]


def make(plan: Plan, runs: Sequence[Run], facts: Facts) -> dict[str, Any]:
    """Make the record as JSON types and validate it."""
    judgement = judge(plan.cases, runs, unfinished=unfinished(facts.state, facts.stopped_by), any_build=plan.any_build)
    record = {
        "schema": SCHEMA,
        "power_id": plan.power_id,
        **asdict(facts),
        "verdict": judgement.verdict.value,
        "reasons": list(judgement.reasons),
        "rates": {
            name: _rate(getattr(judgement, name)) for name in ("mutation_score", "caught_by_any_check", "false_alarms")
        },
        **_names(judgement),
        "source_tree": plan.source_tree,
        "builds": sorted(builds(plan.cases, last_of(runs))) or sorted({run.build for run in runs if run.origin}),
        "any_build": plan.any_build,
        "parameters": dict(plan.parameters),
        "cases": [case.plain() for case in plan.cases],
        "results": [_result(one) for one in judgement.cases],
        "runs": [run.plain() for run in runs],
        "reproduce": plan.reproduce,
    }
    record = json.loads(json.dumps(record))
    validate(record)
    return record


def validate(record: Any) -> None:
    """Raise EvidenceMissing unless `made` is a `gameday.power/2` record."""
    schemas.validate(record, "kit.power", "power.schema.json")


def write(record: Mapping[str, Any], folder: Path) -> None:
    """Replace the folder's `power.json` in one step."""
    write_json(folder / FILE, record)


def is_power(folder: Path) -> bool:
    """Return whether a folder is that of a power measurement."""
    return (folder / FILE).is_file()


def load(folder: Path) -> dict[str, Any]:
    """Read the record of a folder. Raises EvidenceMissing if it is missing, incomplete or not valid."""
    record = read_object(folder / FILE)
    try:
        validate(record)
    except EvidenceMissing as error:
        raise EvidenceMissing(f"{FILE}: {error}") from error
    return record


def unfinished(state: str, stopped_by: str) -> str:
    """Return why a measurement has not ended, empty if it has."""
    if state == suite.RUNNING:
        return NOT_ENDED
    return f"it was stopped by {stopped_by or 'an unknown signal'}" if state == suite.STOPPED else ""


def _names(judgement: Judgement) -> dict[str, list[str]]:
    return {
        "survivors": judgement.names(Result.SURVIVOR),
        "caught_by_other": judgement.names(Result.CAUGHT_BY_OTHER),
        "false_alarms": judgement.names(Result.FALSE_ALARM),
        "no_evidence": judgement.names(Result.NO_EVIDENCE),
        "not_run": judgement.names(Result.NOT_RUN),
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {**asdict(rate), "share": rate.share}


def _result(one: Judged) -> dict[str, Any]:
    """Return the result of one case in the record. `expected_failed`: the failed checks that the header names."""
    run = one.run
    return {
        "case": one.case.name,
        "result": one.result.value,
        "run_id": run.run_id if run else "",
        "verdict": run.verdict.value if run else "",
        "failed_checks": list(run.failed_checks) if run else [],
        "expected_failed": list(expected_failed(one.case, run)),
        "main_reason": run.main_reason if run else "",
    }
