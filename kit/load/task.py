"""`python -m kit.load.task --bucket B --run-id R --shard I`: send one shard of a run's load, in a task.

The task says in S3 that it is ready, reads the run's load when there is one, waits for the common start, stops at the
common end that the stop object names, and uploads its history, the summary last. SIGTERM (ECS StopTask) ends issuing at
once; what was sent is uploaded, and the merge refuses it, because the other shards ended elsewhere.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kit.errors import EvidenceMissing, KitError, UsageError
from kit.load.artifacts import Artifacts
from kit.load.files import SUMMARY_FILE
from kit.load.ordered_load import PROGRESS, READY, SHARDS, read_load, read_stop, shard_name
from kit.load.plan import LoadPlan
from kit.load.runner import LoadRun
from kit.load.shards import Shard
from kit.model import USAGE_EXIT_CODE, LoadStats, Verdict

POLL_S = 0.5
# From a task's start to the order of its load: the time in which all other tasks start.
ORDER_S_MAX = 300.0


class LoadTask:
    """One shard in this task. `start` begins the generator, replaced in tests, as the clock is."""

    def __init__(
        self,
        artifacts: Artifacts,
        index: int,
        work_dir: Path,
        *,
        start: Callable[[LoadPlan, Path, Shard], LoadRun] = LoadRun.start,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._artifacts = artifacts
        self._index = index
        self._folder = work_dir / shard_name(index)
        self._start = start
        self._sleep = sleep
        self._monotonic = monotonic
        self._terminated = False

    def terminate(self) -> None:
        """Stop issuing at the next poll."""
        self._terminated = True

    def run(self) -> LoadStats:
        """Send the shard to its end and upload its history.

        Raises EvidenceMissing if no load was ordered, or the generator died or was late. What a dead generator left is
        uploaded too, but no summary, so that the merge sees that the shard died.
        """
        self._artifacts.put_json(f"{READY}/{shard_name(self._index)}.json", {})
        plan, shard = self._await_load()
        try:
            run = self._start(plan, self._folder, shard)
            try:
                self._follow(run)
                return run.finish()
            finally:
                run.close()
        finally:
            self._upload()

    def _await_load(self) -> tuple[LoadPlan, Shard]:
        deadline_s = self._monotonic() + ORDER_S_MAX
        while not self._terminated:
            if (load := read_load(self._artifacts)) is not None:
                return load.plan, load.shard(self._index)
            if self._monotonic() > deadline_s:
                raise EvidenceMissing(f"load task {self._index}: no load was ordered within {ORDER_S_MAX:g} s")
            self._sleep(POLL_S)
        raise EvidenceMissing(f"load task {self._index}: stopped before a load was ordered")

    def _follow(self, run: LoadRun) -> None:
        told = False
        while run.alive:
            if self._terminated:
                run.stop_issuing()
            if not told and (stops_at_ns := read_stop(self._artifacts)) is not None:
                run.stop_issuing_at(stops_at_ns)
                told = True
            if (progress := run.progress()) is not None:
                self._artifacts.put_json(f"{PROGRESS}/{shard_name(self._index)}.json", progress)
            self._sleep(POLL_S)

    def _upload(self) -> None:
        """Upload every file, the summary last, because it says that the rest is there."""
        files = sorted(path for path in self._folder.iterdir() if path.is_file()) if self._folder.is_dir() else []
        for path in sorted(files, key=lambda one: one.name == SUMMARY_FILE):
            self._artifacts.upload(path, f"{SHARDS}/{self._folder.name}/{path.name}")


def main() -> int:
    import boto3

    parser = argparse.ArgumentParser(prog="python -m kit.load.task", description="Send one shard of a run's load.")
    parser.add_argument("--bucket", required=True, help="of the run's artifacts")
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--shard", type=int, required=True, help="which part of the load, from 0")
    arguments = parser.parse_args()
    artifacts = Artifacts(s3=boto3.client("s3"), bucket=arguments.bucket, run_id=arguments.run_id)
    with tempfile.TemporaryDirectory() as work_dir:
        task = LoadTask(artifacts, arguments.shard, Path(work_dir))
        signal.signal(signal.SIGTERM, lambda *_: task.terminate())
        try:
            stats = task.run()
        except UsageError as error:
            sys.stderr.write(f"{error}\n")
            return USAGE_EXIT_CODE
        except KitError as error:
            sys.stderr.write(f"{error}\n")
            return Verdict.INVALID.exit_code
    sys.stdout.write(f"shard {arguments.shard}: {stats.sent} requests sent, {stats.ok} ok\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
