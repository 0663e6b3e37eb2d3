"""The files of one load: their names, small JSON files replaced in one step, and the summary that ends a history.

Standard library only: the generator's process starts with this and never needs Parquet.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing
from kit.model import ATTEMPT_COLUMNS, CONNECTION_COLUMNS, STREAM_COLUMNS, LoadStats

ATTEMPTS, STREAM, CONNECTIONS = "attempts", "stream", "connections"
COLUMNS = {ATTEMPTS: ATTEMPT_COLUMNS, STREAM: STREAM_COLUMNS, CONNECTIONS: CONNECTION_COLUMNS}
SUMMARY_FILE = "summary.json"
PROGRESS_FILE = "progress.json"


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace the file in one step: a reader sees the old or the new one."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(value))
    os.replace(beside, path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file; None if there is no such file."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise EvidenceMissing(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise EvidenceMissing(f"{path}: holds {type(value).__name__}, not an object")
    return value


def read_summary(out_dir: Path) -> dict[str, Any]:
    """The summary of a load that came to its end; `EvidenceMissing` if it did not."""
    summary = read_json(out_dir / SUMMARY_FILE)
    if summary is None or summary.get("finished") is not True:
        raise EvidenceMissing(f"load in {out_dir}: no finished {SUMMARY_FILE}, the generator did not come to its end")
    return summary


def stats_of(summary: dict[str, Any]) -> LoadStats:
    try:
        return LoadStats(**{name: summary[name] for name in LoadStats.__slots__})
    except KeyError as error:
        raise EvidenceMissing(f"{SUMMARY_FILE}: {error.args[0]!r} is missing") from error
