"""Import good runs that exist already: from finished suites, from other power measurements, and single runs.

Each run is judged again from its own evidence; the verdict in a suite's record is not used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kit import suite
from kit.errors import EvidenceMissing, UsageError
from kit.notebook import run_verdict
from kit.notebook.run_state import RUN_FILE, read_state
from kit.power.outcome import Run, last_of, of_record
from kit.power.plan import Case, Kind
from kit.power.record import is_power, load

DIGEST_SHOWN = 19


def good_runs(folders: Sequence[Path], *, any_build: bool = False) -> list[tuple[Case, Run]]:
    """Import the good runs in these folders, each once.

    Raises UsageError for a folder without a finished run, for a run with a bad change, for a scenario outside the pr
    suite, and for runs of several builds unless `any_build`.
    """
    seen: dict[Path, tuple[dict[str, Any], str]] = {}
    for folder in folders:
        for path, record in _records(folder):
            seen.setdefault(path.resolve(), (record, folder.resolve().name))
    for path, (record, _) in seen.items():
        _require_good(path, record)
    if not any_build:
        _require_one_build(seen)
    return [_import(number, *entry) for number, entry in enumerate(seen.items(), start=1)]


def relative(run: Run, folder: Path) -> str:
    """Return the path of an imported run's report relative to a folder, empty if it has none."""
    return os.path.relpath(run.report, folder) if run.report else ""


def _records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if suite.is_suite(folder):
        for path, record in suite.judge(folder):
            if path == folder:
                raise UsageError(f"suite {folder} is not finished: {record['reasons'][0]}")
            yield path, record
    elif is_power(folder):
        record = load(folder)
        good = {case["name"] for case in record["cases"] if case["kind"] == Kind.GOOD and not case["imported"]}
        for run in last_of(Run.from_plain(run) for run in record["runs"]).values():
            if run.case in good:
                yield folder / run.run_id, run_verdict.judge_run(folder / run.run_id)
    elif (folder / RUN_FILE).is_file():
        yield folder, run_verdict.judge_run(folder)
    else:
        raise UsageError(f"{folder} is not the folder of a run, a suite or a power measurement")


def _require_good(path: Path, record: dict[str, Any]) -> None:
    change, scenario = record["change"] or _requested_change(path), record["scenario"]
    if change:
        raise UsageError(f"run {path} is not a good run: it has the bad change {change!r}")
    if scenario not in suite.PR.members():
        raise UsageError(f"run {path} has scenario {scenario!r}; good runs have {', '.join(suite.PR.members())}")


def _requested_change(path: Path) -> str:
    """Return the change in a run's parameters, for a record that has none because the run failed before its build."""
    try:
        return str(read_state(path)["parameters"].get("change", ""))
    except EvidenceMissing:
        return ""


def _require_one_build(seen: dict[Path, tuple[dict[str, Any], str]]) -> None:
    builds: dict[str, Path] = {}
    for path, (record, _) in seen.items():
        if record["build"]:
            builds.setdefault(record["build"], path)
    if len(builds) > 1:
        listed = "; ".join(f"{path.name} has {digest[:DIGEST_SHOWN]}" for digest, path in builds.items())
        raise UsageError(f"good runs of {len(builds)} builds: {listed}; --any-build counts them together")


def _import(number: int, path: Path, entry: tuple[dict[str, Any], str]) -> tuple[Case, Run]:
    record, origin = entry
    case = Case(
        name=f"imported-{number}-{record['scenario']}",
        kind=Kind.GOOD,
        scenario=record["scenario"],
        parameters={"seed": record["seed"]},
        imported=True,
    )
    return case, of_record(record, case, path, origin)
