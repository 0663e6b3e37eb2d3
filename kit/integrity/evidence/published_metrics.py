"""Read the metrics that a run's tasks and load balancer published, and when a task could not publish."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kit.errors import EvidenceMissing
from kit.integrity.arrays.parquet_table import ParquetTable, decoded, to_numpy
from kit.model import FaultWindow

OBSERVATIONS_FILE = "observations.json"
# Points of PaperBroker's metrics cover so many seconds from their time on (`kit.collect`).
POINT_S = 10.0
# Points of what AWS publishes itself, of the load balancer and the tables.
EDGE_POINT_S = 60.0
# A task publishes this often what it counted since the last time (`paperbroker.services.telemetry`), and a publish
# takes up to so long. What a task counted after its last publish is lost when it is killed or cut off from CloudWatch.
PUBLISH_EVERY_S, PUBLISH_S_MAX = 5.0, 2.0
# An action begins to act within this time.
BEGINS_S_MAX = 2.0
CUT, KILL = "aws:network:disrupt-connectivity", "aws:ecs:task-kill-process"
EVERYTHING = ("all", "")
SIGKILL = "SIGKILL"

Window = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The points of each metric by name, one row (epoch s, value) each; `stopped_at`: when tasks stopped unexpectedly.

    A metric that was read and of which nothing was published has no points.
    """

    points: Mapping[str, np.ndarray] = field(default_factory=dict)
    stopped_at: tuple[float, ...] = ()

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.points.values())

    def total(self, name: str) -> float:
        """Return the sum of all points. Raises EvidenceMissing for a metric that was not read."""
        return float(self.of(name)[:, 1].sum())

    def within(self, name: str, start: float, span_s: float) -> float:
        """Return the sum of the points from `start` on. Raises EvidenceMissing for a metric that was not read."""
        points = self.of(name)
        return float(points[(points[:, 0] >= start) & (points[:, 0] < start + span_s), 1].sum())

    def of(self, name: str) -> np.ndarray:
        """Return the points of a metric. Raises EvidenceMissing for one that was not read."""
        if name not in self.points:
            raise EvidenceMissing(f"series: {name} was not read from CloudWatch")
        return self.points[name]

    def parts(self, name: str) -> tuple[str, ...]:
        """Return the names of the metric's points by zone or by table."""
        return tuple(sorted(one for one in self.points if one.startswith(f"{name}@")))


def read_series(table: ParquetTable, run_dir: Path) -> Published:
    """Read the points, and from the observations which metrics were read. Raises EvidenceMissing."""
    observed = _observations(run_dir / OBSERVATIONS_FILE)
    found: dict[str, list[np.ndarray]] = {str(name): [] for name in observed["series"]}
    for batch in table.batches(("name", "t", "value")):
        names = np.asarray(decoded(batch["name"]).to_pylist(), dtype=object)
        rows = np.column_stack([to_numpy(batch["t"]), to_numpy(batch["value"])])
        for name in set(names.tolist()):
            found.setdefault(name, []).append(rows[names == name])
    points = {name: np.concatenate(parts) if parts else np.empty((0, 2)) for name, parts in found.items()}
    if not all(np.isfinite(rows).all() for rows in points.values()):
        raise EvidenceMissing("series: a point is not a finite number")
    stops = [stop.get("stopped_at") for stop in observed["stops"]]
    return Published(points=points, stopped_at=tuple(float(at) for at in stops if at is not None))


def _observations(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {"series": list(values["series"]), "stops": list(values["stops"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceMissing(f"{OBSERVATIONS_FILE} does not list the metrics that were read: {error!r}") from error


def unpublished(published: Published, fault: FaultWindow | None) -> tuple[Window, ...]:
    """Return the times whose counts a task may have lost: before it was killed or cut off from CloudWatch."""
    ended = [*published.stopped_at, *_ended_by_fault(fault)]
    return tuple((at - PUBLISH_EVERY_S - PUBLISH_S_MAX, at + BEGINS_S_MAX) for at in ended)


def _ended_by_fault(fault: FaultWindow | None) -> Iterator[float]:
    for action in fault.actions if fault else ():
        given = action.get("parameters", {})
        cuts_off = action["action_id"] == CUT and given.get("scope", "") in EVERYTHING
        kills = action["action_id"] == KILL and given.get("signal", SIGKILL) == SIGKILL
        if (cuts_off or kills) and action.get("start") is not None:
            yield float(action["start"])


def slow_networks(fault: FaultWindow | None) -> tuple[Window, ...]:
    """Return the times in which an action delayed, lost or blocked messages of tasks, and their effect was gone."""
    acted = [one for one in (fault.actions if fault else ()) if "network" in one["action_id"]]
    return tuple(
        (float(one["start"]) - BEGINS_S_MAX, float(one.get("healed_at") or one["end"]) + PUBLISH_EVERY_S)
        for one in acted
        if one.get("start") is not None and (one.get("healed_at") or one.get("end")) is not None
    )


def overlapping(starts_s: np.ndarray, length_s: float, windows: tuple[Window, ...]) -> np.ndarray:
    """Find the points, each of that length from its start on, that overlap one of the windows."""
    found = np.zeros(len(starts_s), dtype=bool)
    for start, end in windows:
        found |= (starts_s <= end) & (starts_s + length_s >= start)
    return found


def inside(times_s: np.ndarray, windows: tuple[Window, ...]) -> np.ndarray:
    """Find the times that lie in one of the windows."""
    found = np.zeros(len(times_s), dtype=bool)
    for start, end in windows:
        found |= (times_s >= start) & (times_s <= end)
    return found
