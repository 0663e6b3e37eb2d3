"""Write what was collected of a run into its folder, and read it back on any machine.

The folder holds `observations.json` (values), `platform/*.parquet` (tables), `cleanup.json` (what was left behind),
and beside them `history/`, written by the load generator, and `ledger/`. It can be moved or copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kit import schemas
from kit.collect.ledger import Quiescence
from kit.collect.observations import MachineRecord, Observations
from kit.collect.task_samples import TARGET_COLUMNS, TASK_COLUMNS, Gap
from kit.errors import EvidenceMissing
from kit.files import make_folder, read_object, write_json
from kit.files.parquet_file import read_frame, write_frame
from kit.model import SERIES_COLUMNS, FaultWindow, RunFacts, TaskStop, plain
from kit.process import machine

SCHEMA = "gameday.observations/1"
OBSERVATIONS_FILE, CLEANUP_FILE, PLATFORM = "observations.json", "cleanup.json", "platform"
MACHINE_COLUMNS = tuple(machine.MachineSample.__slots__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup:
    """How a run ended: what it could not remove, and when it had removed everything else (epoch s)."""

    leftovers: tuple[str, ...]
    ended_at: float


def write_observations(observed: Observations, run_dir: Path) -> None:
    """Write tables first and the JSON file last, so that a folder with that file has all of them."""
    folder = run_dir / PLATFORM
    make_folder(folder)
    points = [table.assign(name=name) for name, table in observed.series.items()]
    tables = {
        "tasks": observed.tasks,
        "targets": observed.targets,
        "series": pd.concat(points)[list(SERIES_COLUMNS)] if points else _empty(tuple(SERIES_COLUMNS)),
        "machine": pd.DataFrame([asdict(one) for one in observed.machine.samples], columns=pd.Index(MACHINE_COLUMNS)),
    }
    for name, table in tables.items():
        write_frame(folder / f"{name}.parquet", table)
    values = {
        "schema": SCHEMA,
        "facts": asdict(observed.facts),
        "load_started_at": observed.load_started_at,
        "load_ended_at": observed.load_ended_at,
        "fault": asdict(observed.fault) if observed.fault else None,
        "quiescence": asdict(observed.quiescence),
        "stops": [asdict(stop) for stop in observed.stops],
        "gaps": [asdict(gap) for gap in observed.gaps],
        "alarms": observed.alarms,
        "machine": {"kind": observed.machine.kind, "cores": observed.machine.cores},
        "series": sorted(observed.series),
    }
    write_json(run_dir / OBSERVATIONS_FILE, plain(values, SCHEMA))


def validate(values: Any) -> None:
    """Raise EvidenceMissing unless `values` are as the schema of observations says."""
    schemas.validate(values, "kit.collect", "observations.schema.json")


def write_cleanup(cleanup: Cleanup, run_dir: Path) -> None:
    """Write the last file of a run's evidence."""
    write_json(run_dir / CLEANUP_FILE, asdict(cleanup))


def read_observations(run_dir: Path) -> Observations:
    """Read what `write_observations` wrote. Raises EvidenceMissing that names the file and what is wrong with it."""
    values = read_object(run_dir / OBSERVATIONS_FILE)
    if values.get("schema") != SCHEMA:
        raise EvidenceMissing(f"{OBSERVATIONS_FILE}: schema is {values.get('schema')!r}, expected {SCHEMA!r}")
    validate(values)
    points = _read_table(run_dir, "series", tuple(SERIES_COLUMNS))
    samples = _read_table(run_dir, "machine", MACHINE_COLUMNS)
    try:
        fault = values["fault"]
        return Observations(
            facts=RunFacts(**values["facts"]),
            load_started_at=float(values["load_started_at"]),
            load_ended_at=float(values["load_ended_at"]),
            fault=FaultWindow(**_with_tuples(fault)) if fault else None,
            quiescence=Quiescence(**values["quiescence"]),
            stops=tuple(TaskStop(**stop) for stop in values["stops"]),
            gaps=tuple(Gap(**gap) for gap in values["gaps"]),
            alarms={name: [(t, state) for t, state in states] for name, states in values["alarms"].items()},
            machine=MachineRecord(
                kind=values["machine"]["kind"],
                cores=float(values["machine"]["cores"]),
                samples=tuple(machine.MachineSample(**row) for row in samples.to_dict("records")),  # type: ignore[misc]
            ),
            tasks=_read_table(run_dir, "tasks", TASK_COLUMNS),
            targets=_read_table(run_dir, "targets", TARGET_COLUMNS),
            series={name: _series(points, name) for name in values["series"]},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EvidenceMissing(f"{OBSERVATIONS_FILE}: not as {SCHEMA} says ({error!r})") from error


def read_cleanup(run_dir: Path) -> Cleanup | None:
    """Read how the run ended; None if it was killed before the end of its clean-up."""
    if not (run_dir / CLEANUP_FILE).exists():
        return None
    values = read_object(run_dir / CLEANUP_FILE)
    try:
        return Cleanup(leftovers=tuple(map(str, values["leftovers"])), ended_at=float(values["ended_at"]))
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceMissing(f"{CLEANUP_FILE}: expected leftovers and ended_at ({error!r})") from error


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _series(points: pd.DataFrame, name: str) -> pd.DataFrame:
    return points.loc[points["name"] == name, ["t", "value"]].reset_index(drop=True)


def _empty(columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(columns=pd.Index(columns))


def _read_table(run_dir: Path, name: str, columns: Sequence[str]) -> pd.DataFrame:
    path = run_dir / PLATFORM / f"{name}.parquet"
    table = read_frame(path)
    if list(table.columns) != list(columns):
        raise EvidenceMissing(f"{PLATFORM}/{path.name}: columns {list(table.columns)}, expected {list(columns)}")
    return table
