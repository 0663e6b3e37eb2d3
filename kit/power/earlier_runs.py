"""Good runs that exist already: of finished suites, of other measurements of power, single ones.

Each is judged anew from its own evidence; what a suite's file says of it is not believed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kit import suite
from kit.errors import UsageError
from kit.notebook import runner
from kit.power.outcome import Run, last_of, of_record
from kit.power.plan import Case, Kind
from kit.power.record import is_power, load

DIGEST_SHOWN = 19


def good_runs(folders: Sequence[Path], *, any_build: bool = False) -> list[tuple[Case, Run]]:
    """The good runs in these folders, each once.

    Raises UsageError for a folder that is none of a finished run, a run with a change or of a scenario that is not in
    the suite of pull requests, and runs of several builds unless `any_build`.
    """
    seen: dict[Path, tuple[dict[str, Any], str]] = {}
    for folder in folders:
        for path, record in _records(folder):
            seen.setdefault(path.resolve(), (record, folder.resolve().name))
    for path, (record, _) in seen.items():
        _require_good(path, record)
    if not any_build:
        _require_one_build(seen)
    return [_counted(number, *entry) for number, entry in enumerate(seen.items(), start=1)]


def relative(run: Run, folder: Path) -> str:
    """Where the report of a found run is, from a folder."""
    return os.path.relpath(run.report, folder) if run.report else ""


def _records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if suite.is_suite(folder):
        for path, record in suite.judge(folder):
            if path == folder:
                raise UsageError(f"suite {folder} is not finished: {record['reasons'][0]}")
            yield path, record
    elif is_power(folder):
        made = load(folder)
        good = {case["name"] for case in made["cases"] if case["kind"] == Kind.GOOD and not case["found"]}
        for run in last_of(Run.from_plain(run) for run in made["runs"]).values():
            if run.case in good:
                yield folder / run.run_id, runner.judge_run(folder / run.run_id)
    elif (folder / runner.RUN_FILE).is_file():
        yield folder, runner.judge_run(folder)
    else:
        raise UsageError(f"{folder} is the folder of no run, no suite and no power")


def _require_good(path: Path, record: dict[str, Any]) -> None:
    change, scenario = record["change"] or _asked_change(path), record["scenario"]
    if change:
        raise UsageError(f"run {path} carries change {change!r}: it is no good run")
    if scenario not in suite.PR.members():
        raise UsageError(f"run {path} is of {scenario!r}; good runs are of {', '.join(suite.PR.members())}")


def _asked_change(path: Path) -> str:
    """The change that a run was asked to carry, should its record not say so."""
    try:
        state = json.loads((path / runner.RUN_FILE).read_text(encoding="utf-8"))
        return str(state["parameters"].get("change", ""))
    except (OSError, ValueError, KeyError, AttributeError):
        return ""


def _require_one_build(seen: dict[Path, tuple[dict[str, Any], str]]) -> None:
    builds: dict[str, Path] = {}
    for path, (record, _) in seen.items():
        if record["build"]:
            builds.setdefault(record["build"], path)
    if len(builds) > 1:
        told = "; ".join(f"{path.name} of {digest[:DIGEST_SHOWN]}" for digest, path in builds.items())
        raise UsageError(f"good runs of {len(builds)} builds: {told}; --any-build counts them together")


def _counted(number: int, path: Path, found: tuple[dict[str, Any], str]) -> tuple[Case, Run]:
    record, origin = found
    case = Case(
        name=f"found-{number}-{record['scenario']}",
        kind=Kind.GOOD,
        scenario=record["scenario"],
        given={"seed": record["seed"]},
        found=True,
    )
    return case, of_record(record, case, path, origin)
