"""Tasks send the shards of a load; S3 carries the load to them and their histories back."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.errors import EvidenceMissing, UsageError
from kit.load import LoadPlan, Shard, read_history
from kit.load.artifacts import Artifacts
from kit.load.ordered_load import LOAD, STOP, Load, end_load, fetch_history, order_load, read_load, read_stop
from kit.load.shards import operations_before
from kit.load.task import LoadTask, send_shard
from kit.model import NS_PER_MS, LoadStats
from tests.load.bucket import PLAN, PROGRESS, Bucket
from tests.load.load_exchange import Exchange, plan_of

LOAD_3 = Load(plan=PLAN, shards=3, starts_at_ms=9)
STATS = LoadStats(intended=1, sent=1, ok=1, fail=0, info=0, dropped=0, lag_ms_p99=0.1)


class Generator:
    """A generator that lives for some polls, then leaves its history, or dies."""

    def __init__(self, folder: Path, polls: int, error: str = "") -> None:
        folder.mkdir(parents=True)
        (folder / "attempts-00000.parquet").write_bytes(b"rows")
        self._folder, self._left, self._error = folder, polls, error
        self.told: list[Any] = []

    @property
    def alive(self) -> bool:
        self._left -= 1
        return self._left >= 0

    def progress(self) -> dict[str, Any]:
        return PROGRESS

    def stop_issuing_at(self, stops_at_ns: int) -> None:
        self.told.append(stops_at_ns)

    def finish(self) -> LoadStats:
        if self._error:
            raise EvidenceMissing(self._error)
        (self._folder / "summary.json").write_text("{}")
        (self._folder / "zeta.log").write_text("log")
        return STATS

    def close(self) -> None:
        self.told.append("closed")


def task_of(
    artifacts: Artifacts, tmp_path: Path, *, polls: int = 1, error: str = "", sleep: Any = None, **clocks: Any
) -> Any:
    made: list[Generator] = []

    def start(plan: LoadPlan, folder: Path, shard: Shard) -> Any:
        assert (plan, shard) == (PLAN, Shard(index=1, count=3, starts_at_ns=9 * NS_PER_MS))
        made.append(Generator(folder, polls, error))
        return made[0]

    task = LoadTask(
        artifacts, 1, tmp_path, mark="a", start=start, sleep=sleep or (lambda _: None), now=lambda: 0.0, **clocks
    )
    return task, made


def uploaded(bucket: Bucket) -> list[str]:
    prefix = "run-1/load/shards/shard-00001/"
    return [key.removeprefix(prefix) for key in bucket.put if key.startswith(prefix)]


# ---- the load in S3 ----


def test_a_load_is_read_as_it_was_ordered(artifacts: Artifacts):
    assert read_load(artifacts) is None
    order_load(artifacts, LOAD_3)
    assert read_load(artifacts) == LOAD_3


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"[]", EvidenceMissing, "s3://artifacts/run-1/load/load.json holds a list, expected an object"),
        (b"{", EvidenceMissing, "is not JSON"),
        (b" " * 1_000_001, EvidenceMissing, "is larger than 1000000 bytes"),
        (b'{"plan": {}, "shards": 3}', UsageError, "member 'starts_at_ms' is missing or unknown"),
        (b'{"plan": {}, "shards": 3, "starts_at_ms": 9}', UsageError, "field 'api_url' is missing"),
    ],
)
def test_a_load_that_cannot_be_read_says_why(artifacts, bucket, content, error, message):
    bucket.objects["run-1/load/load.json"] = content
    with pytest.raises(error, match=message):
        read_load(artifacts)


@pytest.mark.parametrize(("shards", "starts_at_ms"), [(0, 9), (65, 9), ("3", 9), (True, 9), (3, 0), (3, "9"), (3, 1.5)])
def test_an_impossible_load_is_refused_before_it_is_ordered(artifacts, shards, starts_at_ms):
    with pytest.raises(UsageError, match="load"):
        order_load(artifacts, Load(plan=PLAN, shards=shards, starts_at_ms=starts_at_ms))
    assert artifacts.get_json(LOAD) is None


def test_an_end_that_is_no_time_is_refused(artifacts):
    artifacts.put_json(STOP, {"stops_at_ms": "soon"})
    with pytest.raises(EvidenceMissing, match="stops_at_ms='soon' must be epoch milliseconds"):
        read_stop(artifacts)


@pytest.mark.parametrize("key", ["run-1/load/shards/../../x", "run-1/load/shards/a/.b", "run-1/load/shards/a b"])
def test_a_key_that_is_no_file_of_a_run_is_refused(artifacts, bucket, tmp_path, key):
    bucket.objects[key] = b""
    with pytest.raises(EvidenceMissing, match="is no name of a run's file"):
        artifacts.download("load/shards", tmp_path / "out")


def test_a_download_takes_all_pages_of_its_run_and_keeps_folders(artifacts, bucket, tmp_path):
    for number in range(7):
        bucket.objects[f"run-1/load/shards/shard-0000{number}/a.json"] = b"%d" % number
    bucket.objects["run-10/load/shards/shard-00000/a.json"] = b"of another run"
    bucket.objects["run-1/load/shards-old/a.json"] = b"of another folder"
    assert artifacts.download("load/shards", tmp_path) == 7
    assert (tmp_path / "shard-00006" / "a.json").read_text() == "6"


# ---- one task ----


def test_a_task_uploads_its_history_and_the_summary_last(artifacts, bucket, tmp_path):
    order_load(artifacts, LOAD_3)
    task, made = task_of(artifacts, tmp_path, polls=2)
    assert task.run() == STATS
    assert uploaded(bucket) == ["attempts-00000.parquet", "zeta.log", "summary.json"]
    assert made[0].told == ["closed"]
    assert artifacts.get_json("load/progress/shard-00001.json") == PROGRESS


def test_a_task_is_ready_before_its_load_is_ordered(artifacts, bucket, tmp_path):
    polls: list[float] = []

    def sleep(s: float) -> None:
        polls.append(s)
        if len(polls) == 3:
            assert bucket.put == ["run-1/load/ready/shard-00001.json"]
            order_load(artifacts, LOAD_3)

    task, _ = task_of(artifacts, tmp_path, sleep=sleep)
    assert task.run() == STATS


def test_a_task_passes_the_common_end_on_once(artifacts, tmp_path):
    order_load(artifacts, LOAD_3)
    polls: list[float] = []

    def sleep(s: float) -> None:
        polls.append(s)
        if len(polls) == 2:
            assert end_load(artifacts, now_s=100.0) == 104_000

    task, made = task_of(artifacts, tmp_path, polls=5, sleep=sleep)
    task.run()
    assert made[0].told == [104_000 * NS_PER_MS, "closed"]
    assert len(polls) == 5


def told_failure(artifacts: Artifacts) -> str:
    told = artifacts.get_json("load/failed/shard-00001.json")
    return "" if told is None else told["error"]


def test_a_task_that_is_stopped_before_its_end_ends_its_generator_and_its_shard_counts_as_dead(
    artifacts, bucket, tmp_path
):
    order_load(artifacts, LOAD_3)
    task, made = task_of(artifacts, tmp_path, sleep=lambda _: task.terminate(), polls=2)
    with pytest.raises(EvidenceMissing, match="load task 1: stopped before the end of its load"):
        task.run()
    assert made[0].told == ["closed"]
    assert uploaded(bucket) == ["attempts-00000.parquet"]
    assert told_failure(artifacts) == "load task 1: stopped before the end of its load"


def test_a_task_that_is_told_to_stop_before_its_load_sends_nothing(artifacts, bucket, tmp_path):
    task, made = task_of(artifacts, tmp_path)
    task.terminate()
    with pytest.raises(EvidenceMissing, match="stopped before a load was ordered"):
        task.run()
    assert (made, uploaded(bucket)) == ([], [])


def test_a_task_whose_load_never_comes_ends(artifacts, tmp_path):
    clock = iter(range(0, 10_000, 100))
    task, _ = task_of(artifacts, tmp_path, monotonic=lambda: float(next(clock)))
    with pytest.raises(EvidenceMissing, match="no load was ordered within 300 s"):
        task.run()


def test_a_task_whose_generator_does_not_end_with_its_plan_ends_it(artifacts, bucket, tmp_path):
    order_load(artifacts, LOAD_3)
    clock = iter(range(0, 100_000, 500))
    task, made = task_of(artifacts, tmp_path, polls=100, monotonic=lambda: float(next(clock)))
    with pytest.raises(EvidenceMissing, match="load task 1: the generator did not end with its plan"):
        task.run()
    assert made[0].told == ["closed"]
    assert uploaded(bucket) == ["attempts-00000.parquet"]


def test_a_load_that_starts_much_later_is_refused(artifacts, tmp_path):
    order_load(artifacts, Load(plan=PLAN, shards=3, starts_at_ms=301_000))
    task, made = task_of(artifacts, tmp_path)
    with pytest.raises(UsageError, match="load task 1: starts in 301 s > 300 s"):
        task.run()
    assert made == []


def test_a_load_without_the_shard_of_a_task_is_refused(artifacts, tmp_path):
    order_load(artifacts, Load(plan=PLAN, shards=1, starts_at_ms=9))
    task, made = task_of(artifacts, tmp_path)
    with pytest.raises(UsageError, match="load shard: index=1 must be a whole number from 0 to 0"):
        task.run()
    assert made == []
    assert "index=1" in told_failure(artifacts)


def test_a_second_task_of_a_shard_sends_nothing_and_does_not_disturb_the_first(artifacts, bucket, tmp_path):
    order_load(artifacts, LOAD_3)
    first, _ = task_of(artifacts, tmp_path / "first")
    first.run()
    before = dict(bucket.objects)
    second = LoadTask(artifacts, 1, tmp_path / "second", mark="b")
    with pytest.raises(EvidenceMissing, match="load task 1: another task sends this shard"):
        second.run()
    assert bucket.objects == before


def test_a_claim_whose_answer_was_lost_is_still_the_claimers(artifacts):
    assert artifacts.claim("load/ready/x.json", {"mark": "a"})
    assert artifacts.claim("load/ready/x.json", {"mark": "a"})
    assert not artifacts.claim("load/ready/x.json", {"mark": "b"})


def test_a_task_whose_generator_died_uploads_what_there_is_without_a_summary(artifacts, bucket, tmp_path):
    order_load(artifacts, LOAD_3)
    task, made = task_of(artifacts, tmp_path, error="the generator died")
    with pytest.raises(EvidenceMissing, match="the generator died"):
        task.run()
    assert uploaded(bucket) == ["attempts-00000.parquet"]
    assert made[0].told == ["closed"]
    assert told_failure(artifacts) == "the generator died"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("A_b", "run-1", "0"), "load task: bucket='A_b' must be the name of an S3 bucket"),
        (("artifacts", "../x", "0"), "run_id='../x' must be"),
        (("artifacts", "", "0"), "run_id='' must not be empty"),
        (("artifacts", "run-1", "-1"), "load task: shard=-1 must be a whole number from 0 to 63"),
        (("artifacts", "run-1", "64"), "shard=64 must be"),
        (("artifacts", "run-1", "one"), "shard='one' must be"),
    ],
)
def test_a_task_refuses_wrong_arguments_by_name(arguments, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        send_shard(*arguments)


# ---- all of it, with real generators ----


@pytest.fixture
def threads() -> Iterator[list[threading.Thread]]:
    started: list[threading.Thread] = []
    yield started
    for thread in started:
        thread.join(60)


@pytest.mark.slow
def test_three_tasks_send_the_whole_load_and_their_histories_merge(
    artifacts, exchange_thread: Exchange, tmp_path, threads
):
    """In threads of this process instead of tasks."""
    starts_at_ms = round((time.time() + 15) * 1_000)
    plan = plan_of(exchange_thread.url, rate_per_s=120.0, duration_max_s=60.0)
    load = Load(plan=plan, shards=3, starts_at_ms=starts_at_ms)
    order_load(artifacts, load)
    threads += [
        threading.Thread(target=LoadTask(artifacts, index, tmp_path / "tasks", mark=str(index)).run)
        for index in range(3)
    ]
    for thread in threads:
        thread.start()
    while time.time() * 1_000 < starts_at_ms + 1_000:
        time.sleep(0.1)
    stops_at_ms = end_load(artifacts, time.time())
    for thread in threads:
        thread.join(60)
    fetch_history(artifacts, load, tmp_path / "work", tmp_path / "history")
    history = read_history(tmp_path / "history")
    length_ns = (stops_at_ms - starts_at_ms) * NS_PER_MS
    assert history.stats.intended == len(history.attempts) == operations_before(plan, length_ns) > 300
    assert history.summary["issued_until_ns"] == length_ns
