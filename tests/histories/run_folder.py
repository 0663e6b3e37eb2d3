"""Write tables as a run leaves them in its folder, and judge them there as `gameday run` does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kit import collect, integrity
from kit.collect.metric_series import CONFLICTS, QUEUE_SERIES, ZONE_SERIES
from kit.integrity.arrays.columns import ColumnStorage
from kit.integrity.evidence.assembly import read_evidence
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.run_folder import HISTORY_TABLES, LEDGER_TABLES, PLATFORM_TABLES
from kit.integrity.findings.check import run_check
from kit.model import FaultWindow, Finding, LoadStats
from tests.histories.tables import table as table_of
from tests.histories.telemetry import ZONES

Tables = Mapping[str, Any]
# The metrics that were read, whether or not anything was published.
SERIES = [
    *collect.BROKER_SERIES,
    *collect.EDGE_SERIES,
    *collect.TABLE_SERIES,
    *QUEUE_SERIES,
    CONFLICTS,
    *(f"{name}@{zone}" for name in ZONE_SERIES for zone in ZONES),
]


def write(tables: Tables, folder: Path, segments: int = 1) -> Path:
    """The history in so many files a table, the ledger in one. A table that is absent or None has no file.

    Attempts before the last event of the past belong to it. Without the key `past` there is an empty past.
    """
    for name in ("history", "ledger", "platform"):
        (folder / name).mkdir(parents=True)
    tables = _without_past(tables, folder)
    listed: dict[str, list[tuple[str, int]]] = {}
    for name in HISTORY_TABLES:
        table = tables.get(name)
        size = 0 if table is None else len(table)
        edges = [number * size // segments for number in range(segments + 1)]
        listed[name] = [(f"{name}-{number}.parquet", edges[number + 1] - edges[number]) for number in range(segments)]
        if table is not None:
            for (file, _), first, last in zip(listed[name], edges[:-1], edges[1:], strict=True):
                _write(table.iloc[first:last], folder / "history" / file)
    for where, names in (("ledger", LEDGER_TABLES), ("platform", PLATFORM_TABLES)):
        for name in names:
            if tables.get(name) is not None:
                _write(tables[name], folder / where / f"{name}.parquet")
    (folder / "observations.json").write_text(json.dumps({"series": SERIES, "stops": []}))
    sent = len(tables["attempts"]) if tables.get("attempts") is not None else 0
    counts = {"intended": sent, "sent": sent, "ok": sent, "fail": 0, "info": 0, "dropped": 0, "lag_ms_p99": 0.1}
    (folder / "history" / "summary.json").write_text(json.dumps(counts | {"segments": listed, "finished": True}))
    return folder


def _without_past(tables: Tables, folder: Path) -> Tables:
    """Write the past; return the tables with the attempts that are not in it."""
    past, attempts = tables.get("past", table_of("past", [])), tables.get("attempts")
    if past is None:
        return tables
    (folder / "past").mkdir()
    _write(past, folder / "past" / "events.parquet")
    if attempts is None or "invoked_ns" not in attempts:
        return tables
    earlier = attempts["invoked_ns"] <= (past["ts_ns"].max() if len(past) else 0)
    _write(attempts[earlier], folder / "past" / "attempts.parquet")
    return {**tables, "attempts": attempts[~earlier]}


def _write(table: Any, path: Path) -> None:
    # Small files that are read once: what makes large ones small would cost more than it saves.
    made = pa.Table.from_pandas(table, preserve_index=False)
    # pandas writes large strings, the load generator plain ones.
    fields = [field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field for field in made.schema]
    made = made.cast(pa.schema(fields))
    pq.write_table(made, path, compression="none", use_dictionary=False, write_statistics=False)


@contextmanager
def evidence_of(tables: Tables, fault: FaultWindow | None = None, load: LoadStats | None = None) -> Iterator[Evidence]:
    """The evidence of a folder with these tables; both are removed at the end."""
    with tempfile.TemporaryDirectory() as folder, closing(ColumnStorage()) as storage:
        yield read_evidence(write(tables, Path(folder) / "run"), storage, fault=fault, load=load)


def judge(
    tables: Tables, *names: str, fault: FaultWindow | None = None, load: LoadStats | None = None
) -> dict[str, Finding]:
    """The findings by check: those of the named checks, in this order, or all."""
    checks = {check.name: check for check in integrity.CHECKS}
    with evidence_of(tables, fault, load) as evidence:
        return {name: run_check(checks[name], evidence) for name in names or checks}
