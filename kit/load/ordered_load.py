"""Agree on a load through S3: who conducts a run orders it, its tasks read it, and their histories come back.

Times in S3 are epoch milliseconds, because a state machine computes with numbers that hold no nanoseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing, UsageError
from kit.load.artifacts import Artifacts
from kit.load.merged_history import merge_shards, shard_folder
from kit.load.plan import LoadPlan
from kit.load.shards import Shard
from kit.model import NS_PER_MS

LOAD, STOP = "load/load.json", "load/stop.json"
READY, PROGRESS, SHARDS, FAILED = "load/ready", "load/progress", "load/shards", "load/failed"
MEMBERS = {"plan", "shards", "starts_at_ms"}
# The end must be known to every shard before it comes: some polls of the task, and one of its generator.
STOP_AHEAD_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load of one run: a plan, in how many shards it is sent, and when all of them start (epoch ms)."""

    plan: LoadPlan
    shards: int
    starts_at_ms: int

    @property
    def starts_at_ns(self) -> int:
        return self.starts_at_ms * NS_PER_MS

    def shard(self, index: int) -> Shard:
        """Return one shard. Raises UsageError for a number of shards or a time that is not accepted."""
        if not isinstance(self.starts_at_ms, int):
            raise UsageError(f"load: starts_at_ms={self.starts_at_ms!r} must be a whole number")
        return Shard(index=index, count=self.shards, starts_at_ns=self.starts_at_ns)


def shard_name(index: int) -> str:
    """Return the name of one shard's folder and objects."""
    return shard_folder(Path(), index).name


def order_load(artifacts: Artifacts, load: Load) -> None:
    """Write the load for its tasks to read."""
    load.shard(0)
    plain = {"plan": asdict(load.plan), "shards": load.shards, "starts_at_ms": load.starts_at_ms}
    artifacts.put_json(LOAD, plain)


def read_load(artifacts: Artifacts) -> Load | None:
    """Read what `order_load` wrote; None if there is none yet. Raises UsageError for anything else."""
    plain = artifacts.get_json(LOAD)
    if plain is None:
        return None
    if unknown := sorted(plain.keys() ^ MEMBERS):
        raise UsageError(f"{artifacts.url(LOAD)}: member {unknown[0]!r} is missing or unknown")
    plan = LoadPlan.from_json(json.dumps(plain["plan"]))
    load = Load(plan=plan, shards=plain["shards"], starts_at_ms=plain["starts_at_ms"])
    load.shard(0)
    return load


def end_load(artifacts: Artifacts, now_s: float) -> int:
    """Tell all shards when to end, soon enough that each knows it before; returns that time in epoch ms."""
    stops_at_ms = round((now_s + STOP_AHEAD_S) * 1_000)
    artifacts.put_json(STOP, {"stops_at_ms": stops_at_ms})
    return stops_at_ms


def read_stop(artifacts: Artifacts) -> int | None:
    """Return the common end in epoch ns; None if none is set yet. Raises EvidenceMissing for anything else."""
    plain = artifacts.get_json(STOP)
    if plain is None:
        return None
    stops_at_ms = plain.get("stops_at_ms")
    if not isinstance(stops_at_ms, int) or isinstance(stops_at_ms, bool):
        raise EvidenceMissing(f"{artifacts.url(STOP)}: stops_at_ms={stops_at_ms!r:.40} must be epoch milliseconds")
    return stops_at_ms * NS_PER_MS


def fetch_history(artifacts: Artifacts, load: Load, work_dir: Path, out_dir: Path) -> Mapping[str, Any]:
    """Download the histories of all shards and merge them into `out_dir`; returns the merged summary.

    Raises EvidenceMissing if they are not exactly the ordered load.
    """
    shards_dir = work_dir / "shards"
    shards_dir.mkdir(parents=True)
    artifacts.download(SHARDS, shards_dir)
    return merge_shards(
        load.plan, count=load.shards, starts_at_ns=load.starts_at_ns, shards_dir=shards_dir, out_dir=out_dir
    )
