"""Run the engine, the subscribers and the history writer on one event loop, in the generator's process.

The first SIGTERM stops issuing and lets the run finish. A second SIGTERM ends the drain early. SIGINT is ignored,
because a Ctrl-C reaches the whole process group and the parent then decides how to end the load. A stop file ends
issuing at the time in it, so that all shards of a plan end at the same operation.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import resource
import signal
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from kit.errors import EvidenceMissing, UsageError
from kit.files import make_folder
from kit.load.engine import Engine
from kit.load.files import ATTEMPTS, STOP_FILE, read_json
from kit.load.history_writer import HistoryWriter
from kit.load.http_attempt import Attempt
from kit.load.pacer import START_S
from kit.load.plan import LoadPlan
from kit.load.shards import LATE_START_S_MAX, Shard
from kit.load.subscribers import Subscribers
from kit.model import NS_PER_MS, NS_PER_S

PROGRESS_S = 0.5
OTHER_FILES = 128  # open files that are not connections to the API
COLLECT_S = 0.05  # between two collections of young garbage
COLLECTS_PER_PROGRESS = round(PROGRESS_S / COLLECT_S)


def generate(plan: LoadPlan, out_dir: Path, shard: Shard) -> None:
    """Run the shard of the plan to its end and leave a complete history in `out_dir`.

    Raises EvidenceMissing if it is ready too late for the common start.
    """
    _raise_open_file_limit(plan.connections_max)
    make_folder(out_dir)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_Generator(plan, out_dir, shard).run())


class _Generator:
    def __init__(self, plan: LoadPlan, out_dir: Path, shard: Shard) -> None:
        self._plan = plan
        self._shard = shard
        self._stop_file = out_dir / STOP_FILE
        self._epoch_ns = _epoch_ns()
        self._zero_ns = shard.starts_at_ns - self._epoch_ns if shard.starts_at_ns else 0
        self._late_ns = 0  # from the common start until this generator was ready
        self._started_ns = time.time_ns()
        self._stopped_ns = 0
        self._cpu_s = 0.0  # spent before the first operation
        self._state = "issuing"
        self._crash: BaseException | None = None
        self._writer = HistoryWriter(out_dir, as_row={ATTEMPTS: partial(Attempt.row, epoch_ns=self._epoch_ns)})
        self._engine: Engine
        self._sigterms = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        await self._writer.start()
        self._engine = Engine(self._plan, loop, record=partial(self._writer.add, ATTEMPTS), shard=self._shard)
        loop.set_exception_handler(self._crashed)
        loop.add_signal_handler(signal.SIGTERM, self._terminated)
        subscribers = Subscribers(self._plan, add=self._writer.add, epoch_ns=self._epoch_ns, shard=self._shard)
        housekeeping = asyncio.create_task(self._housekeep())
        housekeeping.add_done_callback(self._housekeeping_ended)
        _disable_automatic_gc()
        try:
            await self._wait_for_start()
        except EvidenceMissing:
            await _end(housekeeping)
            await self._writer.close()
            raise
        self._cpu_s = time.process_time()
        subscribers.start()
        await self._engine.run(self._zero_ns)
        self._state = "catching up"
        caught_up = await subscribers.catch_up(give_up=lambda: self._cut_short)
        await subscribers.close()
        await _end(housekeeping)
        if self._crash is not None:
            await self._writer.close()
            raise self._crash
        self._state = "done"
        self._writer.write_progress(self._progress())
        await self._writer.finish(self._summary(caught_up))

    async def _wait_for_start(self) -> None:
        """Wait for the common start of all shards. Raises EvidenceMissing if it passed too long ago."""
        if not self._zero_ns:
            return
        self._late_ns = max(0, time.monotonic_ns() - self._zero_ns)
        if self._late_ns > LATE_START_S_MAX * NS_PER_S:
            late = f"ready {self._late_ns / NS_PER_S:.3f} s after the common start > {LATE_START_S_MAX:g} s"
            raise EvidenceMissing(f"load: {self._shard} was {late}")
        await self._engine.pacer.wait_until(self._zero_ns - int(START_S * NS_PER_S))

    @property
    def _cut_short(self) -> bool:
        return self._sigterms > 1 or self._crash is not None

    def _terminated(self) -> None:
        self._sigterms += 1
        if self._sigterms == 1:
            self._engine.stop_issuing()
            self._writer.flush()  # the sender of the signal may kill this process next
        else:
            self._engine.cut_short()

    def _crashed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """End without a summary after an error that no one awaited, because the history may be incomplete."""
        error = context.get("exception")
        if self._crash is None:
            self._crash = error if error is not None else RuntimeError(str(context.get("message")))
        loop.default_exception_handler(context)
        self._engine.cut_short()

    def _housekeeping_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(task.get_loop(), {"message": "housekeeping failed", "exception": error})

    async def _housekeep(self) -> None:
        """Write the progress file every `PROGRESS_S`, and collect garbage often, so that each pause is short."""
        for turn in itertools.count():
            if turn % COLLECTS_PER_PROGRESS == 0:
                self._writer.write_progress(self._progress())
                self._read_stop_file()
            gc.collect(0)
            await asyncio.sleep(COLLECT_S)

    def _read_stop_file(self) -> None:
        if (stop := read_json(self._stop_file)) is not None:
            self._engine.pacer.stop_at(int(stop["stops_at_ns"]) - self._epoch_ns)

    def _progress(self) -> dict[str, Any]:
        counts, engine = self._engine.counts, self._engine
        if self._state == "issuing" and not engine.issuing:
            self._state = "draining"
        if not engine.issuing and not self._stopped_ns:
            self._stopped_ns = time.time_ns()
        return {
            "t": time.time(),
            "state": self._state,
            "intended": engine.intended,
            "sent": counts.sent,
            "ok": counts.ok,
            "fail": counts.fail,
            "info": counts.info,
            "dropped": counts.dropped,
            "p95_ms_last": counts.take_p95_ms(),
            "inflight": engine.inflight,
            "unknown": engine.unknown,
        }

    def _summary(self, caught_up: bool) -> dict[str, Any]:
        counts, engine = self._engine.counts, self._engine
        return {
            **asdict(counts.stats(engine.intended)),
            "lag_ms_p50": counts.lag_ms(0.5),
            "lag_ms_max": round(counts.lag_ms_max, 3),
            "lag_counts": counts.lag_counts,
            "late": counts.late,
            "unknown": engine.unknown,
            "unsettled": engine.unsettled,
            "cut_short": self._cut_short,
            "caught_up": caught_up,
            "connections_opened": engine.connections_opened,
            "started_ns": self._started_ns,
            "stopped_ns": self._stopped_ns or time.time_ns(),
            "ended_ns": time.time_ns(),
            "cpu_s": round(time.process_time() - self._cpu_s, 3),
            "seed": self._plan.seed,
            "plan_digest": self._plan.digest,
            "shard": asdict(self._shard),
            "late_start_ms": round(self._late_ns / NS_PER_MS, 3),
            "issued_until_ns": engine.pacer.end_ns,
        }


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _raise_open_file_limit(connections_max: int) -> None:
    """Allow the plan's connections, because without a free file a dial would look like a refused connection."""
    needed = connections_max + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UsageError(f"load plan: connections_max={connections_max} needs {needed} open files, the limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _epoch_ns() -> int:
    """Return the epoch time of monotonic 0.

    It is read once, so that a step of the system's clock does not appear in the history.
    """
    return time.time_ns() - time.monotonic_ns()


def _disable_automatic_gc() -> None:
    """Prevent collections at arbitrary times, and exempt all existing objects from later ones."""
    gc.collect()
    gc.freeze()
    gc.disable()
