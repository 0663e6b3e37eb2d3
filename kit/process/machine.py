"""Watch how many cores other processes leave to a run, for the noise rule, and name the class of this machine."""

from __future__ import annotations

import itertools
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.process import cpu

SAMPLE_EVERY_S = 1.0
# Four hours; older samples make room.
SAMPLES_MAX = 4 * 3600
STOP_S_MAX = 5.0
GIB = 1 << 30
RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSample:
    """CPU seconds since boot at one time (epoch s), of the CPUs on which the run may be.

    `all_s`: idle or not; `busy_s`: used by any process or stolen by the host; `own_s`: used by the run.
    """

    t: float
    all_s: float
    busy_s: float
    own_s: float


class MachineWatch:
    """Take samples in a thread. The run's own processes are this one, `members`, and all their descendants."""

    def __init__(self, members: Collection[int] = ()) -> None:
        self._own = {RUN: frozenset({os.getpid(), *members})}
        self._samples: deque[MachineSample] = deque(maxlen=SAMPLES_MAX)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="machine-watch", daemon=True)

    @classmethod
    def start(cls, members: Collection[int] = ()) -> MachineWatch:
        """Start sampling. `members`: ids of processes that work for the run but were not started by this process."""
        watch = cls(members)
        watch._thread.start()
        return watch

    def stop(self) -> None:
        """End the sampling; safe to repeat."""
        self._stopping.set()
        self._thread.join(STOP_S_MAX)

    @property
    def samples(self) -> tuple[MachineSample, ...]:
        """All samples so far, in order of time."""
        return tuple(self._samples)

    def _run(self) -> None:
        while True:
            times = cpu.cpu_times()
            if times is not None:
                busy_s, own_s = times.busy_s + times.stolen_s, cpu.tree_seconds(self._own)[RUN]
                self._samples.append(MachineSample(t=time.time(), all_s=times.all_s, busy_s=busy_s, own_s=own_s))
            if self._stopping.wait(SAMPLE_EVERY_S):
                return


def cores_left(samples: Sequence[MachineSample], cores: float) -> float | None:
    """Return how many cores other processes left to the run while these samples were taken, at most `cores`.

    `cores`: what the run may use. Time stolen by the host counts as taken. None for fewer than two samples.
    """
    if len(samples) < 2:
        return None
    first, last = samples[0], samples[-1]
    others_s = max(0.0, (last.busy_s - first.busy_s) - (last.own_s - first.own_s))
    return min(cores, max(0.0, (last.all_s - first.all_s) - others_s) / (last.t - first.t))


def contended(samples: Sequence[MachineSample], cores: float, left_min: float) -> tuple[tuple[float, float], ...]:
    """Return from when to when (epoch s) other processes left the run less than `left_min` cores, sample by sample."""
    pairs = itertools.pairwise(samples)
    return tuple((a.t, b.t) for a, b in pairs if b.t > a.t and (cores_left((a, b), cores) or 0.0) < left_min)


def class_of_machine() -> dict[str, Any]:
    """Return what must be equal for latencies of two machines to be comparable."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cpus": round(cpu.cores(), 2),
        "memory_gib": round(pages * page_bytes / GIB),
    }


def _processor() -> str:
    """Return the processor's model as the kernel names it, or the architecture where it names none."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
