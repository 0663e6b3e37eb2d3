"""Name the files and frames of one load, and read its small JSON files.

Standard library only, so that the generator's process starts without Parquet.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing
from kit.files import read_object
from kit.model import ATTEMPT_COLUMNS, CONNECTION_COLUMNS, STREAM_COLUMNS, LoadStats

ATTEMPTS, STREAM, CONNECTIONS = "attempts", "stream", "connections"
COLUMNS = {ATTEMPTS: ATTEMPT_COLUMNS, STREAM: STREAM_COLUMNS, CONNECTIONS: CONNECTION_COLUMNS}
SUMMARY_FILE = "summary.json"
PROGRESS_FILE = "progress.json"
STOP_FILE = "stop.json"  # {"stops_at_ns": epoch ns}: written by whoever conducts the load, read by the generator

# What the generator sends to the writer process: four bytes of length, then a marshalled (command, name, value). Both
# ends run the same interpreter.
FRAME_HEADER = struct.Struct("<I")
ROWS, JSON, FINISH, FLUSH = "rows", "json", "finish", "flush"


def read_json(path: Path) -> dict[str, Any] | None:
    """Read the object in the file; None if there is no such file. Raises EvidenceMissing for anything else in it."""
    return read_object(path) if path.exists() else None


def read_summary(out_dir: Path) -> dict[str, Any]:
    """Read the summary of a finished load. Raises EvidenceMissing if the load did not finish."""
    summary = read_json(out_dir / SUMMARY_FILE)
    if summary is None or summary.get("finished") is not True:
        raise EvidenceMissing(f"load in {out_dir}: no finished {SUMMARY_FILE}: the generator did not finish")
    return summary


def stats_of(summary: dict[str, Any]) -> LoadStats:
    """Return the counts of a summary or of a progress record. Raises EvidenceMissing for one that is no count."""
    for name in LoadStats.__slots__:
        kinds = (int, float) if name == "lag_ms_p99" else int
        value = summary.get(name)
        if not isinstance(value, kinds) or isinstance(value, bool) or value < 0:
            raise EvidenceMissing(f"{SUMMARY_FILE}: {name!r} is {value!r:.40}, expected a number")
    return LoadStats(**{name: summary[name] for name in LoadStats.__slots__})
