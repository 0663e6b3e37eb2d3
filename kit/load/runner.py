"""Start, watch and stop the load generator's process, and read its results.

A generator that ended without a summary raises EvidenceMissing: its measurements cannot be trusted.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing, UsageError
from kit.files import make_folder, write_json, write_text
from kit.load.files import PROGRESS_FILE, STOP_FILE, SUMMARY_FILE, read_json, read_summary, stats_of
from kit.load.plan import LoadPlan
from kit.load.shards import Shard
from kit.model import LoadStats
from kit.process import lifeline

START_S_MAX = 20.0
START_POLL_S = 0.02
FINISH_S_MAX = 60.0  # more than the generator's drain and catch-up together may take
LOG_FILE = "load.log"
LOG_TAIL_BYTES = 2_000


class LoadRun:
    """A load in a process of its own, which ends when this process does. Create it by `start`."""

    def __init__(self, owned: lifeline.Child, out_dir: Path) -> None:
        self._owned = owned
        self._out_dir = out_dir
        self._stop_sent = False
        self.started_at = time.time()

    @classmethod
    def start(cls, plan: LoadPlan, out_dir: Path, shard: Shard | None = None) -> LoadRun:
        """Start the generator of the plan, or of one shard of it, and wait until it runs.

        Raises UsageError if `out_dir` holds an earlier load.
        """
        shard = shard or Shard()
        out_dir = Path(out_dir)
        make_folder(out_dir)
        if (out_dir / SUMMARY_FILE).exists() or (out_dir / PROGRESS_FILE).exists():
            raise UsageError(f"load: {out_dir} holds an earlier load")
        plan_file = out_dir / "plan.json"
        write_text(plan_file, plan.to_json())
        argv = [sys.executable, "-m", "kit.load", "--plan", plan_file, "--out", out_dir]
        argv += ["--shard", str(shard.index), "--shards", str(shard.count), "--starts-at-ns", str(shard.starts_at_ns)]
        try:
            run = cls(lifeline.spawn(argv, log=out_dir / LOG_FILE), out_dir)
        except OSError as error:
            raise EvidenceMissing(f"load in {out_dir} cannot be started: {error}") from error
        try:
            run._await_start()
            run.started_at = time.time()
        except BaseException:
            run.close()
            raise
        return run

    def _await_start(self) -> None:
        deadline_s = time.monotonic() + START_S_MAX
        while self.progress() is None:
            if time.monotonic() > deadline_s:
                raise EvidenceMissing(f"load in {self._out_dir}: no progress within {START_S_MAX:g} s of its start")
            time.sleep(START_POLL_S)

    @property
    def pid(self) -> int:
        """The pid of the generator."""
        return self._owned.child_pid

    @property
    def alive(self) -> bool:
        return self._owned.poll() is None

    def progress(self) -> dict[str, Any] | None:
        """Return the latest counters, at most half a second old; None before the first.

        Raises EvidenceMissing if the generator died.
        """
        alive = self.alive
        progress = read_json(self._out_dir / PROGRESS_FILE)
        if not alive:
            self._check_end()
        return progress

    def stop_issuing(self) -> None:
        """Start no new operations. The generator finishes those under way and then asks for unknown outcomes again."""
        if self.alive and not self._stop_sent:
            self._stop_sent = True  # a second signal would cut the drain short
            os.kill(self._owned.child_pid, signal.SIGTERM)

    def stop_issuing_at(self, stops_at_ns: int) -> None:
        """Start no operation that is scheduled at or after this time (epoch ns).

        All shards of a plan end at the same operation if each is told some seconds before.
        """
        write_json(self._out_dir / STOP_FILE, {"stops_at_ns": stops_at_ns})

    def finish(self, timeout_s: float = FINISH_S_MAX) -> LoadStats:
        """Stop issuing, wait for the end, and return what was done. The history is complete then."""
        self.stop_issuing()
        try:
            self._owned.wait(timeout_s)
        except TimeoutError as error:
            self.close()
            raise EvidenceMissing(f"load in {self._out_dir}: not finished within {timeout_s:g} s") from error
        return stats_of(self._check_end())

    def close(self) -> None:
        """Kill the generator now. Safe to call at any time."""
        self._owned.close()

    def _check_end(self) -> dict[str, Any]:
        code = self._owned.poll()
        if code:
            raise EvidenceMissing(f"load in {self._out_dir}: the generator died with exit code {code}: {self._log()}")
        return read_summary(self._out_dir)

    def _log(self) -> str:
        """Return the end of the generator's log."""
        try:
            text = (self._out_dir / LOG_FILE).read_text(errors="replace")
        except FileNotFoundError:
            return "no log"
        # On a full disk nothing can be logged, either.
        free = f"an empty log, and {shutil.disk_usage(self._out_dir).free >> 20} MiB are free on its disk"
        return text[-LOG_TAIL_BYTES:].strip() or free
