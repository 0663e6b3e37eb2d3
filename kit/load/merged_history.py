"""Merge the histories of all shards of a plan into the history that one generator would have left.

Segments are checked one at a time and then moved as they are, so that memory does not grow with the load. A merge that
would lose or invent anything is refused, because its run would be judged on less than what happened.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing
from kit.files import make_folder, write_json, write_text
from kit.load.counts import lag_ms
from kit.load.files import (
    ATTEMPTS,
    COLUMNS,
    PROGRESS_FILE,
    SUMMARY_FILE,
    read_json,
    read_summary,
    stats_of,
)
from kit.load.plan import LoadPlan
from kit.load.segments import listed_segments, read_segment
from kit.load.shards import LATE_START_S_MAX, Shard, operations_before
from kit.model import NS_PER_MS, NS_PER_S

ADDED = ("intended", "sent", "ok", "fail", "info", "dropped", "late", "unknown", "unsettled", "connections_opened")
DIGEST_SHOWN = 12  # characters


def shard_folder(shards_dir: Path, index: int) -> Path:
    """Return the folder of one shard's history."""
    return shards_dir / f"shard-{index:05d}"


def merge_shards(plan: LoadPlan, *, count: int, starts_at_ns: int, shards_dir: Path, out_dir: Path) -> dict[str, Any]:
    """Move the histories of all shards below `shards_dir` into one history in `out_dir`; returns its summary.

    Raises EvidenceMissing if a shard is missing, died, started late, ran another plan or another part of it, or did not
    issue exactly its operations. Nothing is moved then.
    """
    if not shards_dir.is_dir():
        raise EvidenceMissing(f"load: {shards_dir} is missing, expected the histories of {count} shards")
    folders = {shard_folder(shards_dir, index).name for index in range(count)}
    if unknown := sorted(path.name for path in shards_dir.iterdir() if path.name not in folders):
        raise EvidenceMissing(f"load: {unknown[0]} in {shards_dir} does not belong to a load of {count} shards")
    wanted = [Shard(index=index, count=count, starts_at_ns=starts_at_ns) for index in range(count)]
    done = [_read(plan, shard, shard_folder(shards_dir, shard.index)) for shard in wanted]
    _check_operations(plan, done)
    for one in done:
        _check_rows(plan, one)
    summary = _added(plan, done)
    make_folder(out_dir)
    if (out_dir / SUMMARY_FILE).exists():
        raise EvidenceMissing(f"load: {out_dir} holds a history already")
    write_text(out_dir / "plan.json", plan.to_json())
    segments = {table: [moved for one in done for moved in _move(one, table, out_dir)] for table in COLUMNS}
    summary |= {"segments": segments, "finished": True}
    write_json(out_dir / SUMMARY_FILE, summary)
    return summary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """The finished history of one shard."""

    shard: Shard
    folder: Path
    summary: dict[str, Any]

    def integer(self, name: str) -> int:
        """Return a count of the summary. Raises EvidenceMissing for anything else."""
        value = self.summary.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise EvidenceMissing(f"load: {self.shard} has {name}={value!r:.40} in its summary, expected a number")
        return value

    def number(self, name: str) -> float:
        value = self.summary.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
            raise EvidenceMissing(f"load: {self.shard} has {name}={value!r:.40} in its summary, expected a number")
        return float(value)

    @property
    def lag_counts(self) -> Counter[int]:
        """The number of operations by bucket of their lag."""
        try:
            counts = Counter({int(bucket): int(count) for bucket, count in self.summary["lag_counts"]})
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceMissing(f"load: {self.shard} has no lag_counts of [bucket, operations] each") from error
        if counts.total() != self.integer("intended"):
            raise EvidenceMissing(
                f"load: {self.shard} counted the lag of {counts.total()} of {self.integer('intended')} operations"
            )
        return counts


def _read(plan: LoadPlan, shard: Shard, folder: Path) -> _Done:
    """Read the summary of one shard, and check that it is the one that was asked for."""
    if not folder.is_dir():
        raise EvidenceMissing(f"load: {shard} is missing: it left no history")
    try:
        summary = read_summary(folder)
    except EvidenceMissing as error:
        raise EvidenceMissing(f"load: {shard} died before its end, {_last_progress(folder)}: {error}") from error
    if (digest := summary.get("plan_digest")) != plan.digest:
        shown, expected = str(digest)[:DIGEST_SHOWN], plan.digest[:DIGEST_SHOWN]
        raise EvidenceMissing(f"load: {shard} ran another plan, with digest {shown} instead of {expected}")
    if (ran := summary.get("shard")) != asdict(shard):
        raise EvidenceMissing(f"load: {folder.name} holds the part {ran!r:.100}, expected {asdict(shard)}")
    one = _Done(shard=shard, folder=folder, summary=summary)
    stats_of(summary)
    if (late_ms := one.number("late_start_ms")) > LATE_START_S_MAX * NS_PER_S / NS_PER_MS:
        raise EvidenceMissing(f"load: {shard} started {late_ms:.0f} ms late > {LATE_START_S_MAX * 1_000:g} ms")
    return one


def _last_progress(folder: Path) -> str:
    """Say what the shard had counted when it last wrote its progress."""
    try:
        progress = read_json(folder / PROGRESS_FILE) or {}
    except EvidenceMissing:
        progress = {}
    return f"having sent {progress['sent']} requests" if "sent" in progress else "and left no counts"


def _check_operations(plan: LoadPlan, done: Sequence[_Done]) -> None:
    """Check that all shards stopped at one operation and that each issued exactly its part before it."""
    first, ends = done[0], [one.integer("issued_until_ns") for one in done]
    for one, end_ns in zip(done, ends, strict=True):
        if end_ns != ends[0]:
            at, other = f"{end_ns / NS_PER_S:.3f} s after the start", f"{first.shard} at {ends[0] / NS_PER_S:.3f} s"
            raise EvidenceMissing(f"load: {one.shard} stopped issuing {at}, {other}")
    operations = operations_before(plan, ends[0])
    for one in done:
        if (issued := one.integer("intended")) != (share := one.shard.share_of(operations)):
            raise EvidenceMissing(f"load: {one.shard} issued {issued} operations, the plan has {share} for it")


def _check_rows(plan: LoadPlan, one: _Done) -> None:
    """Check every segment of a shard: complete, and about nothing but its own operations and markets."""
    for table in COLUMNS:
        for path, rows in listed_segments(one.folder, table, one.summary):
            segment = read_segment(path, table, rows)
            if table == ATTEMPTS:
                wrong = [op_id for op_id in segment["op_id"].unique().to_pylist() if not one.shard.has_operation(op_id)]
                if wrong:
                    raise EvidenceMissing(f"load: {one.shard} recorded operation {wrong[0]}, which is not its own")
            else:
                for symbol in segment["symbol"].unique().to_pylist():
                    if symbol not in plan.markets or not one.shard.has_market(plan, symbol):
                        what = f"a subscriber of {symbol!r:.40}, which is not its own"
                        raise EvidenceMissing(f"load: {one.shard} recorded {what}")


def _move(one: _Done, table: str, out_dir: Path) -> list[tuple[str, int]]:
    """Move the segments of one table under names that no other shard has; returns the names with their rows."""
    moved = []
    for number, (path, rows) in enumerate(listed_segments(one.folder, table, one.summary)):
        name = f"{table}-{one.shard.index:05d}-{number:05d}.parquet"
        shutil.move(path, out_dir / name)
        moved.append((name, rows))
    return moved


def _added(plan: LoadPlan, done: Sequence[_Done]) -> dict[str, Any]:
    """Make the summary of all shards. Counts are added; percentiles are taken from the added counts of lags."""
    lags: Counter[int] = sum((one.lag_counts for one in done), Counter())
    lag_counts, lag_ms_max = sorted(lags.items()), max(one.number("lag_ms_max") for one in done)
    return {
        **{name: sum(one.integer(name) for one in done) for name in ADDED},
        "lag_ms_p50": lag_ms(lag_counts, lag_ms_max, 0.5),
        "lag_ms_p99": lag_ms(lag_counts, lag_ms_max, 0.99),
        "lag_ms_max": lag_ms_max,
        "lag_counts": lag_counts,
        "cut_short": any(one.summary.get("cut_short") is not False for one in done),
        "caught_up": all(one.summary.get("caught_up") is True for one in done),
        "started_ns": min(one.integer("started_ns") for one in done),
        "stopped_ns": max(one.integer("stopped_ns") for one in done),
        "ended_ns": max(one.integer("ended_ns") for one in done),
        "cpu_s": round(sum(one.number("cpu_s") for one in done), 3),
        "seed": plan.seed,
        "plan_digest": plan.digest,
        "shard": asdict(Shard(starts_at_ns=done[0].shard.starts_at_ns)),
        "shards": len(done),
        "late_start_ms": max(one.number("late_start_ms") for one in done),
        "issued_until_ns": done[0].integer("issued_until_ns"),
    }
