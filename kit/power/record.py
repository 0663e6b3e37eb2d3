"""The record of a measurement of power, `gameday.power/1`: kept as `power.json`, read back by who goes on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kit import schemas, suite
from kit.errors import EvidenceMissing
from kit.power.judgement import Judged, Judgement, builds, judge
from kit.power.outcome import Result, Run, last_of, named
from kit.power.plan import Plan
from kit.power.rates import Rate

SCHEMA = "gameday.power/1"
FILE = "power.json"
NOT_ENDED = "it never reported its end: it still runs, or was killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a measurement beside its plan and its runs. `resumed`: how often it was gone on with."""

    state: str
    stopped_by: str
    started_at: str
    ended_at: str | None
    resumed: int
    jobs: Mapping[str, Any]
    machine: Mapping[str, Any]


def make(plan: Plan, runs: Sequence[Run], facts: Facts) -> dict[str, Any]:
    """The record as JSON types, validated."""
    found = judge(plan.cases, runs, unfinished=unfinished(facts.state, facts.stopped_by), any_build=plan.any_build)
    made = {
        "schema": SCHEMA,
        "power_id": plan.power_id,
        **asdict(facts),
        "verdict": found.verdict.value,
        "reasons": list(found.reasons),
        "rates": {name: _rate(getattr(found, name)) for name in ("caught", "noticed", "false_alarms")},
        **_names(found),
        "tree": plan.tree,
        "builds": sorted(builds(plan.cases, last_of(runs))) or sorted({run.build for run in runs if run.origin}),
        "any_build": plan.any_build,
        "given": dict(plan.given),
        "cases": [case.plain() for case in plan.cases],
        "results": [_result(one) for one in found.cases],
        "runs": [run.plain() for run in runs],
        "reproduce": plan.reproduce,
    }
    made = json.loads(json.dumps(made))
    validate(made)
    return made


def validate(made: Any) -> None:
    """Raises EvidenceMissing unless `made` is a `gameday.power/1` record."""
    schemas.validate(made, "kit.power", "power.schema.json")


def write(made: Mapping[str, Any], folder: Path) -> None:
    """Replace the folder's `power.json` in one step."""
    part = folder / f"{FILE}.part"
    part.write_text(json.dumps(made, indent=1), encoding="utf-8")
    part.replace(folder / FILE)


def is_power(folder: Path) -> bool:
    """Whether a folder is a measurement's."""
    return (folder / FILE).is_file()


def load(folder: Path) -> dict[str, Any]:
    """The record of a folder. Raises EvidenceMissing if it is torn or none."""
    try:
        made = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvidenceMissing(f"{folder / FILE} cannot be read: {error}") from error
    validate(made)
    return made


def unfinished(state: str, stopped_by: str) -> str:
    """Why a measurement has not come to its end, empty if it has."""
    if state == suite.RUNNING:
        return NOT_ENDED
    return f"it was stopped by {stopped_by or 'someone'}" if state == suite.STOPPED else ""


def _names(found: Judgement) -> dict[str, list[str]]:
    return {
        "survivors": found.names(Result.SURVIVOR),
        "caught_by_other": found.names(Result.OTHER),
        "alarms": found.names(Result.FALSE_ALARM),
        "silent": found.names(Result.NO_EVIDENCE),
        "pending": found.names(Result.PENDING),
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {**asdict(rate), "share": rate.share}


def _result(one: Judged) -> dict[str, Any]:
    """`first`: of all checks that failed the one that the gate tells first; `named`: those of the header."""
    run = one.run
    return {
        "case": one.case.name,
        "result": one.result.value,
        "run_id": run.run_id if run else "",
        "verdict": run.verdict.value if run else "",
        "first": next(iter(run.fired), "") if run else "",
        "fired": list(run.fired) if run else [],
        "named": list(named(one.case, run)),
        "why": run.why if run else "",
    }
