"""Histories of shards become one history, or the merge is refused and says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kit.errors import EvidenceMissing
from kit.load import LoadPlan, Shard, read_history
from kit.load.counts import LAG_BUCKET_NS
from kit.load.http_attempt import Attempt, OperationState
from kit.load.merged_history import merge_shards, shard_folder
from kit.load.orders import OrderFlow
from kit.load.segments import write_segment
from kit.load.shards import operations_before
from kit.load.subscriber_habits import roles_of
from kit.model import NS_PER_MS, NS_PER_S

PLAN = LoadPlan(api_url="http://x", markets=("ACME", "BOLT"), seed=5, rate_per_s=60.0, duration_max_s=20.0)
START_NS, END_NS = 1_700_000_000 * NS_PER_S, 3 * NS_PER_S
COUNT = 3


def lag_ns(op_id: int) -> int:
    """Return a lag whose percentiles over all shards are no average of the shards' percentiles."""
    return (op_id % COUNT) ** 4 * NS_PER_MS + op_id * 1_000


def write_shard(folder: Path, shard: Shard, plan: LoadPlan = PLAN) -> None:
    """Write what a shard of the plan leaves that was stopped at `END_NS`."""
    folder.mkdir(parents=True)
    flow, rows, buckets = OrderFlow(plan), [], {}
    for number, offset_ns in shard.arrivals(plan):
        if offset_ns >= END_NS:
            break
        operation = flow.operation(number)
        made = Attempt(OperationState(operation), "first", operation, offset_ns, offset_ns + lag_ns(number))
        made.completed_ns, made.outcome, made.status = offset_ns + NS_PER_MS, "ok", 201
        rows.append(made.row(START_NS))
        bucket = lag_ns(number) // LAG_BUCKET_NS
        buckets[bucket] = buckets.get(bucket, 0) + 1
    half = len(rows) // 2
    segments: dict[str, list[tuple[str, int]]] = {"attempts": [], "stream": [], "connections": []}
    for name, part in (("attempts-00000.parquet", rows[:half]), ("attempts-00001.parquet", rows[half:])):
        write_segment(folder / name, "attempts", part)
        segments["attempts"].append((name, len(part)))
    if roles := roles_of(plan, shard):
        connections = [(role.name, 0, role.symbol, 0, START_NS, START_NS, 0, 0, "") for role in roles]
        write_segment(folder / "connections-00000.parquet", "connections", connections)
        segments["connections"].append(("connections-00000.parquet", len(roles)))
    counts = {"intended": len(rows), "sent": len(rows), "ok": len(rows)}
    zeros = ("fail", "info", "dropped", "late", "unknown", "unsettled")
    summary = {
        **counts, **dict.fromkeys(zeros, 0), "connections_opened": 2, "lag_ms_p99": 0.0, "cpu_s": 0.5,
        "lag_ms_max": max(lag_ns(row[0]) for row in rows) / NS_PER_MS, "lag_counts": sorted(buckets.items()),
        "cut_short": False, "caught_up": True, "started_ns": START_NS - 5, "stopped_ns": START_NS + shard.index,
        "ended_ns": START_NS + 9, "plan_digest": plan.digest, "shard": asdict(shard), "late_start_ms": 0.0,
        "issued_until_ns": END_NS, "segments": segments, "finished": True,
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "progress.json").write_text(json.dumps({"sent": len(rows)}))


def write_all(shards_dir: Path, count: int = COUNT) -> None:
    for index in range(count):
        write_shard(shard_folder(shards_dir, index), Shard(index=index, count=count, starts_at_ns=START_NS))


def merge(tmp_path: Path, count: int = COUNT) -> dict[str, Any]:
    return merge_shards(
        PLAN, count=count, starts_at_ns=START_NS, shards_dir=tmp_path / "shards", out_dir=tmp_path / "merged"
    )


@pytest.mark.parametrize("count", [1, 2, 7])
def test_merged_history_has_every_row_and_the_counts_of_all_shards(tmp_path: Path, count: int):
    write_all(tmp_path / "shards", count)
    merge(tmp_path, count)
    history, total = read_history(tmp_path / "merged"), operations_before(PLAN, END_NS)
    assert history.stats.intended == history.stats.sent == len(history.attempts) == total
    assert sorted(history.attempts["op_id"]) == list(range(total))
    assert sorted(history.connections["symbol"]) == sorted(PLAN.markets)
    assert history.summary["shards"] == count
    assert not list((tmp_path / "shards").rglob("*.parquet"))


def test_percentiles_of_lag_are_those_of_all_operations_and_no_average(tmp_path: Path):
    write_all(tmp_path / "shards")
    summary = merge(tmp_path)
    lags_ms = np.array([lag_ns(number) for number in range(operations_before(PLAN, END_NS))]) / NS_PER_MS
    resolution_ms = LAG_BUCKET_NS / NS_PER_MS
    for name, share in (("lag_ms_p50", 0.5), ("lag_ms_p99", 0.99)):
        expected = np.quantile(lags_ms, share, method="inverted_cdf")
        assert 0 <= summary[name] - expected <= resolution_ms
    assert summary["lag_ms_max"] == lags_ms.max()


def _edit(change: dict[str, Any], folder: Path) -> None:
    file = folder / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))


def _die(folder: Path) -> None:
    (folder / "summary.json").unlink()


def _swap(folder: Path) -> None:
    """Take the segments of another shard."""
    for path in shard_folder(folder.parent, 0).glob("attempts-*.parquet"):
        shutil.copy(path, folder / path.name)
    other = json.loads((shard_folder(folder.parent, 0) / "summary.json").read_text())
    _edit({"segments": other["segments"]}, folder)


def _foreign_subscriber(folder: Path) -> None:
    write_segment(folder / "s.parquet", "stream", [("s-ACME-0", 0, "ACME", 1, 1, "{}")])
    summary = json.loads((folder / "summary.json").read_text())
    _edit({"segments": summary["segments"] | {"stream": [["s.parquet", 1]]}}, folder)


def _twice(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    attempts = summary["segments"]["attempts"]
    _edit({"segments": summary["segments"] | {"attempts": [*attempts, attempts[0]]}}, folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (shutil.rmtree, "shard 1 of 3 is missing: it left no history"),
        (_die, "shard 1 of 3 died before its end, having sent 61 requests"),
        (partial(_edit, {"finished": False}), "shard 1 of 3 died before its end"),
        (partial(_edit, {"plan_digest": "0" * 64}), "shard 1 of 3 ran another plan, with digest 000000000000 instead"),
        (partial(_edit, {"shard": {"index": 1, "count": 4, "starts_at_ns": START_NS}}), "holds the part"),
        (partial(_edit, {"shard": {"index": 1, "count": 3, "starts_at_ns": START_NS + 1}}), "holds the part"),
        (partial(_edit, {"late_start_ms": 101.0}), "shard 1 of 3 started 101 ms late > 100 ms"),
        (partial(_edit, {"late_start_ms": None}), "late_start_ms=None"),
        (partial(_edit, {"issued_until_ns": END_NS + 1}), r"shard 1 of 3 stopped issuing 3\.000 s after the start"),
        (
            partial(_edit, {"intended": 7, "lag_counts": [[0, 7]]}),
            "shard 1 of 3 issued 7 operations, the plan has 61 for it",
        ),
        (partial(_edit, {"lag_counts": [[0, 7]]}), "shard 1 of 3 counted the lag of 7 of 61 operations"),
        (partial(_edit, {"lag_counts": None}), "no lag_counts"),
        (partial(_edit, {"unknown": "3"}), "unknown='3'"),
        (_swap, "shard 1 of 3 recorded operation 0, which is not its own"),
        (_foreign_subscriber, "shard 1 of 3 recorded a subscriber of 'ACME'"),
        (_twice, "lists a segment of attempts twice"),
        (lambda folder: (folder / "attempts-00001.parquet").unlink(), "is missing"),
        (lambda folder: (folder.parent / "shard-00003").mkdir(), "shard-00003 in .* does not belong to a load of 3"),
    ],
)
def test_shards_that_are_not_the_plan_are_refused(tmp_path: Path, harm: Callable[[Path], None], message: str):
    write_all(tmp_path / "shards")
    harm(shard_folder(tmp_path / "shards", 1))
    with pytest.raises(EvidenceMissing, match=message):
        merge(tmp_path)
    assert not (tmp_path / "merged" / "summary.json").exists()


def test_nothing_is_moved_before_every_shard_is_checked(tmp_path: Path):
    """A refused merge leaves the evidence where it is."""
    write_all(tmp_path / "shards")
    before = sorted(path.name for path in (tmp_path / "shards").rglob("*.parquet"))
    (shard_folder(tmp_path / "shards", 2) / "attempts-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(EvidenceMissing):
        merge(tmp_path)
    assert sorted(path.name for path in (tmp_path / "shards").rglob("*.parquet")) == before


def test_a_load_without_any_shard_is_refused(tmp_path: Path):
    with pytest.raises(EvidenceMissing, match="expected the histories of 3 shards"):
        merge(tmp_path)
