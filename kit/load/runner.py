"""The parent's hold on a running load: start, look, stop, and get what it did.

Owns the generator's process; must not know what it sends. A generator that is gone without a summary measured nothing
that can be trusted: that is `EvidenceMissing`, never a result.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing, UsageError
from kit.load.files import PROGRESS_FILE, SUMMARY_FILE, read_json, read_summary, stats_of
from kit.load.plan import LoadPlan
from kit.model import LoadStats
from kit.process import lifeline

START_S_MAX = 20.0
START_POLL_S = 0.02
FINISH_S_MAX = 60.0  # more than the generator's own bounds of drain and catch-up together
LOG_FILE = "load.log"
LOG_TAIL_BYTES = 2_000


class LoadRun:
    """A load in a process of its own, which ends when this process does. Made by `start`."""

    def __init__(self, owned: lifeline.Owned, out_dir: Path) -> None:
        self._owned = owned
        self._out_dir = out_dir
        self._told = False

    @classmethod
    def start(cls, plan: LoadPlan, out_dir: Path) -> LoadRun:
        """Start the generator and wait until it runs; `out_dir` must hold no earlier load."""
        out_dir = Path(out_dir)
        out_dir.mkdir(parents=True, exist_ok=True)
        if (out_dir / SUMMARY_FILE).exists() or (out_dir / PROGRESS_FILE).exists():
            raise UsageError(f"load: {out_dir} holds an earlier load")
        plan_file = out_dir / "plan.json"
        plan_file.write_text(plan.to_json())
        argv = [sys.executable, "-m", "kit.load", "--plan", plan_file, "--out", out_dir]
        run = cls(lifeline.spawn(argv, log=out_dir / LOG_FILE), out_dir)
        try:
            run._await_start()
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
        """The generator's own."""
        return self._owned.child_pid

    @property
    def alive(self) -> bool:
        return self._owned.poll() is None

    def progress(self) -> dict[str, Any] | None:
        """The latest counters, at most half a second old; None before the first.

        Raises `EvidenceMissing` when the generator died.
        """
        alive = self.alive
        progress = read_json(self._out_dir / PROGRESS_FILE)
        if not alive:
            self._check_end()
        return progress

    def stop_issuing(self) -> None:
        """Start no new operations; those under way are finished and unknown outcomes are asked again."""
        if self.alive and not self._told:
            self._told = True  # a second signal would cut the drain short
            os.kill(self._owned.child_pid, signal.SIGTERM)

    def finish(self, timeout_s: float = FINISH_S_MAX) -> LoadStats:
        """Stop issuing, wait for the end, and return what was done; the history is whole then."""
        self.stop_issuing()
        try:
            self._owned.wait(timeout_s)
        except TimeoutError as error:
            self.close()
            raise EvidenceMissing(f"load in {self._out_dir}: not finished within {timeout_s:g} s") from error
        return stats_of(self._check_end())

    def close(self) -> None:
        """End the generator now, in whatever state; safe to call at any time."""
        self._owned.close()

    def _check_end(self) -> dict[str, Any]:
        code = self._owned.poll()
        if code:
            raise EvidenceMissing(f"load in {self._out_dir}: the generator died with exit code {code}: {self._log()}")
        return read_summary(self._out_dir)

    def _log(self) -> str:
        """The end of what the generator wrote to its standard error."""
        try:
            text = (self._out_dir / LOG_FILE).read_text(errors="replace")
        except FileNotFoundError:
            return "no log"
        return text[-LOG_TAIL_BYTES:].strip() or "it said nothing"
