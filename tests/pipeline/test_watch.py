"""The watching task waits for a load that was ordered, ended and uploaded, and uploads what says so last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kit.errors import EvidenceMissing
from kit.load import LoadPlan
from kit.load.artifacts import Artifacts
from kit.load.ordered_load import Load, end_load, order_load
from kit.pipeline.run_plan import EVIDENCE
from kit.pipeline.watch import UPLOAD_S_MAX, await_load, upload
from tests.load.bucket import Bucket
from tests.pipeline.test_run_plan import plan

ORDERED = Load(plan=LoadPlan(api_url="http://127.0.0.1:1", markets=("ACME",)), shards=2, starts_at_ms=1_000_000)


class Clock:
    """A clock that moves only when someone sleeps; `at` runs something at a time."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.at: dict[float, Callable[[], object]] = {}

    def now(self) -> float:
        return self.now_s

    def sleep(self, s: float) -> None:
        self.now_s += s
        for due in [one for one in self.at if one <= self.now_s]:
            self.at.pop(due)()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def artifacts(bucket: Bucket) -> Artifacts:
    return Artifacts(s3=bucket, bucket="artifacts", run_id="r-1")


def waited(artifacts: Artifacts, clock: Clock) -> tuple[Load, float]:
    return await_load(artifacts, plan(), sleep=clock.sleep, now=clock.now)


def uploaded(artifacts: Artifacts, shard: int) -> None:
    artifacts.put_json(f"load/shards/shard-{shard:05d}/summary.json", {})


def test_the_load_is_over_when_every_shard_has_uploaded_its_summary(artifacts: Artifacts):
    clock = Clock()
    order_load(artifacts, ORDERED)
    clock.at = {
        1_010.0: lambda: end_load(artifacts, clock.now_s),
        1_020.0: lambda: uploaded(artifacts, 1),
        1_030.0: lambda: uploaded(artifacts, 0),
    }
    load, stops_at = waited(artifacts, clock)
    assert (load, stops_at, clock.now_s) == (ORDERED, 1_014.0, 1_030.0)


def test_a_load_that_is_never_ended_is_missing_evidence(artifacts: Artifacts):
    clock = Clock()
    order_load(artifacts, ORDERED)
    with pytest.raises(EvidenceMissing, match="the load was never told to end"):
        waited(artifacts, clock)
    assert clock.now_s <= 1_000 + plan().times["load_s_max"] + 1


def test_a_shard_without_a_history_is_named(artifacts: Artifacts):
    clock = Clock()
    order_load(artifacts, ORDERED)
    end_load(artifacts, clock.now_s)
    uploaded(artifacts, 0)
    with pytest.raises(EvidenceMissing, match="shard 1 of 2 uploaded no history"):
        waited(artifacts, clock)
    assert clock.now_s <= 1_004 + UPLOAD_S_MAX + 1


def test_an_end_without_an_order_is_missing_evidence(artifacts: Artifacts):
    end_load(artifacts, 1_000.0)
    with pytest.raises(EvidenceMissing, match="no load was ordered"):
        waited(artifacts, Clock())


def test_observations_and_manifest_are_uploaded_last(artifacts: Artifacts, bucket: Bucket, tmp_path: Path):
    for name in ("manifest.json", "observations.json", "stack.yaml", "ledger/events.parquet", "zeta.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to("/etc/hostname")
    upload(artifacts, tmp_path, EVIDENCE)
    names = [key.removeprefix("r-1/evidence/") for key in bucket.put]
    assert names[-2:] == ["observations.json", "manifest.json"]
    assert sorted(names[:-2]) == ["ledger/events.parquet", "stack.yaml", "zeta.json"]
