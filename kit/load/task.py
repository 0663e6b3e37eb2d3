"""`python -m kit.load.task --bucket B --run-id R --shard I`: send one shard of a run's load, in a task.

Whoever may call ecs:RunTask can start the tasks of a load: a notebook (`kit.load.fleet`), or a state machine by
`ecs:runTask.sync` in a Map over the shards. It overrides the command of the container `load`, and nothing else, once
for each shard from 0:

    ["python", "-m", "kit.load.task", "--bucket", "<bucket>", "--run-id", "<run>", "--shard", "0"]

It leaves `propagateTags` and `tags` out: experiments select the tasks that they break by the tags App and RunId.

All else is agreed through objects below `s3://<bucket>/<run>/`; times are epoch milliseconds.

| object | written by | content |
|---|---|---|
| `load/ready/shard-00000.json` | the task, at its start | a mark of its own; a second task of the shard ends |
| `load/load.json` | who conducts, when all are ready | `{"plan", "shards", "starts_at_ms"}`, some seconds ahead |
| `load/stop.json` | who conducts | `{"stops_at_ms"}`, `STOP_AHEAD_S` ahead |
| `load/progress/shard-00000.json` | the task, twice a second | the counters so far |
| `load/failed/shard-00000.json` | a task that failed | `{"error"}`, in words |
| `load/shards/shard-00000/` | the task, at its end | its history, the summary last |

A task waits `ORDER_S_MAX` for the order, refuses one that starts more than `AHEAD_S_MAX` later, and ends with its plan
if nobody ever writes the common end. It ends with exit code 0 only when it has sent and uploaded its whole shard. A
task that died, was late for the common start, or was stopped (SIGTERM, as by ecs:StopTask) before its end uploads what
it has but no summary, and the merge refuses the load.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kit import aws
from kit.errors import CloudError, EvidenceMissing, KitError, UsageError
from kit.load.artifacts import Artifacts
from kit.load.files import SUMMARY_FILE
from kit.load.ordered_load import FAILED, PROGRESS, READY, SHARDS, read_load, read_stop, shard_name
from kit.load.plan import LoadPlan
from kit.load.runner import FINISH_S_MAX, LoadRun
from kit.load.shards import COUNT, Shard
from kit.model import NS_PER_S, USAGE_EXIT_CODE, LoadStats, Verdict
from kit.parameter_specs import RUN_PARAMETERS, ParameterSpec

POLL_S = 0.5
# From a task's start to the order of its load: the time in which all other tasks start.
ORDER_S_MAX = 300.0
# From the order to the common start.
AHEAD_S_MAX = 300.0
ERROR_CHARS_MAX = 2_000
_SUBJECT = "load task:"
BUCKET = ParameterSpec(
    name="bucket", type=str, pattern=r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", described="the name of an S3 bucket",
    subject=_SUBJECT,
)  # fmt: skip
SHARD = ParameterSpec(name="shard", type=int, lowest=0, highest=(COUNT.highest or 1) - 1, subject=_SUBJECT)


class LoadTask:
    """One shard in this task. `start` begins the generator, replaced in tests, as the clocks are.

    `mark` is unlike that of any other task.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        index: int,
        work_dir: Path,
        *,
        mark: str,
        start: Callable[[LoadPlan, Path, Shard], LoadRun] = LoadRun.start,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._artifacts = artifacts
        self._index = index
        self._mark = mark
        self._folder = work_dir / shard_name(index)
        self._start = start
        self._sleep = sleep
        self._monotonic = monotonic
        self._now = now
        self._terminated = False

    def terminate(self) -> None:
        """End at the next poll. Nothing is drained, because nobody would judge the rest of a load without its end."""
        self._terminated = True

    def run(self) -> LoadStats:
        """Send the shard to its end and upload its history.

        Raises UsageError for a load that has no such shard, and EvidenceMissing if another task sends this shard, no
        load was ordered, or the generator died, was late or was stopped. What there is then is uploaded without a
        summary, so that the merge sees that the shard died.
        """
        if not self._artifacts.claim(self._object(READY), {"mark": self._mark}):
            raise EvidenceMissing(f"load task {self._index}: another task sends this shard")
        try:
            stats = self._send()
        except BaseException as error:
            self._report(error)
            self._upload(complete=False)
            raise
        self._upload(complete=True)
        return stats

    def _object(self, kind: str) -> str:
        return f"{kind}/{shard_name(self._index)}.json"

    def _send(self) -> LoadStats:
        plan, shard = self._await_load()
        ahead_s = shard.starts_at_ns / NS_PER_S - self._now()
        if ahead_s > AHEAD_S_MAX:
            raise UsageError(f"load task {self._index}: starts in {ahead_s:.0f} s > {AHEAD_S_MAX:g} s")
        deadline_s = self._monotonic() + max(ahead_s, 0.0) + plan.duration_max_s + FINISH_S_MAX
        run = self._start(plan, self._folder, shard)
        try:
            self._follow(run, deadline_s)
            return run.finish()
        finally:
            run.close()

    def _await_load(self) -> tuple[LoadPlan, Shard]:
        deadline_s = self._monotonic() + ORDER_S_MAX
        while not self._terminated:
            if (load := read_load(self._artifacts)) is not None:
                return load.plan, load.shard(self._index)
            if self._monotonic() > deadline_s:
                raise EvidenceMissing(f"load task {self._index}: no load was ordered within {ORDER_S_MAX:g} s")
            self._sleep(POLL_S)
        raise EvidenceMissing(f"load task {self._index}: stopped before a load was ordered")

    def _follow(self, run: LoadRun, deadline_s: float) -> None:
        """Pass the common end on and publish the counters until the generator ends."""
        told = False
        while run.alive:
            if self._terminated:
                raise EvidenceMissing(f"load task {self._index}: stopped before the end of its load")
            if not told and (stops_at_ns := read_stop(self._artifacts)) is not None:
                run.stop_issuing_at(stops_at_ns)
                told = True
            if (progress := run.progress()) is not None:
                self._artifacts.put_json(self._object(PROGRESS), progress)
            if self._monotonic() > deadline_s:
                raise EvidenceMissing(f"load task {self._index}: the generator did not end with its plan")
            self._sleep(POLL_S)

    def _report(self, error: BaseException) -> None:
        """Say in S3 why the task failed. If that fails too, it is a note of the error."""
        text = str(error) or type(error).__name__
        try:
            self._artifacts.put_json(self._object(FAILED), {"error": text[-ERROR_CHARS_MAX:]})
        except CloudError as lost:
            error.add_note(f"and {lost}")

    def _upload(self, *, complete: bool) -> None:
        """Upload every file, the summary last, because it says that the rest is there, and only if it is."""
        files = sorted(path for path in self._folder.iterdir() if path.is_file()) if self._folder.is_dir() else []
        for path in sorted(files, key=lambda one: one.name == SUMMARY_FILE):
            if complete or path.name != SUMMARY_FILE:
                self._artifacts.upload(path, f"{SHARDS}/{self._folder.name}/{path.name}")


def send_shard(bucket: str, run_id: str, shard: str) -> str:
    """Send one shard to its end; returns what was done in words. Raises KitError."""
    BUCKET.check(bucket)
    RUN_PARAMETERS["run_id"].check(run_id)
    if not run_id:
        raise UsageError(f"{_SUBJECT} run_id='' must not be empty")
    index = SHARD.parse(shard)
    artifacts = Artifacts(s3=aws.task_session().client("s3"), bucket=bucket, run_id=run_id)
    with tempfile.TemporaryDirectory() as work_dir:
        task = LoadTask(artifacts, index, Path(work_dir), mark=secrets.token_hex(16))
        signal.signal(signal.SIGTERM, lambda *_: task.terminate())
        stats = task.run()
    return f"shard {index}: {stats.sent} requests sent, {stats.ok} ok"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kit.load.task", description="Send one shard of a run's load.")
    parser.add_argument("--bucket", required=True, help="of the run's artifacts")
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--shard", required=True, help="which part of the load, from 0")
    arguments = parser.parse_args()
    try:
        done = send_shard(arguments.bucket, arguments.run_id, arguments.shard)
    except KitError as error:
        sys.stderr.write("\n".join([str(error), *getattr(error, "__notes__", ())]) + "\n")
        return USAGE_EXIT_CODE if isinstance(error, UsageError) else Verdict.INVALID.exit_code
    sys.stdout.write(f"{done}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
