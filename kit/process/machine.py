"""How busy this machine was with other things than the run: times measured on an overloaded machine prove nothing.

Samples the kernel's counters; knows nothing of AWS, load or verdicts. Linux only.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE_EVERY_S = 1.0
# Four hours; older samples make room.
SAMPLES_MAX = 4 * 3600
STOP_S_MAX = 5.0
GIB = 1 << 30
# Fields of the first line of /proc/stat that are work or time stolen by the host: all but idle, iowait and guests.
_BUSY_FIELDS = (1, 2, 3, 6, 7, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Counters at one moment, in seconds of processor time since boot: of all processes, and of the run's own."""

    t: float
    busy_s: float
    own_s: float


class MachineWatch:
    """Samples from `start` to `stop`, in a thread. The run's own processes are this one, `others`, and all below."""

    def __init__(self, others: Collection[int] = ()) -> None:
        self._roots = frozenset({os.getpid(), *others})
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="machine-watch", daemon=True)

    @classmethod
    def start(cls, others: Collection[int] = ()) -> MachineWatch:
        """`others`: process ids that belong to the run though this process did not start them."""
        watch = cls(others)
        watch._thread.start()
        return watch

    def stop(self) -> None:
        """End the sampling; safe to repeat."""
        self._stopping.set()
        self._thread.join(STOP_S_MAX)

    def foreign_share(self, start: float, end: float) -> float | None:
        """The share of all processors, 0 to 1, that others took between two epoch seconds; None if nobody looked."""
        return foreign_share([one for one in self._samples if start <= one.t <= end], cores())

    def _run(self) -> None:
        while True:
            self._samples.append(Sample(t=time.time(), busy_s=_busy_s(), own_s=_own_s(self._roots)))
            if self._stopping.wait(SAMPLE_EVERY_S):
                return


def foreign_share(samples: list[Sample], processors: int) -> float | None:
    """As `MachineWatch.foreign_share`, of given samples. Time stolen by a virtual machine's host is others' time."""
    if len(samples) < 2:
        return None
    first, last = samples[0], samples[-1]
    foreign_s = (last.busy_s - first.busy_s) - (last.own_s - first.own_s)
    return max(0.0, foreign_s) / ((last.t - first.t) * processors)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def class_of_machine() -> dict[str, Any]:
    """What must be equal for latencies of two machines to be comparable."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cpus": cores(),
        "memory_gib": round(pages * page_bytes / GIB),
    }


def _busy_s() -> float:
    with open("/proc/stat", encoding="ascii") as file:
        fields = file.readline().split()
    return sum(int(fields[field]) for field in _BUSY_FIELDS) / os.sysconf("SC_CLK_TCK")


def _own_s(roots: Collection[int]) -> float:
    """Processor time of these processes and all below them, that of children already reaped included."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for pid, fields in _processes():
        parents[pid] = int(fields[1])
        ticks[pid] = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime (proc(5))
    return sum(own for pid, own in ticks.items() if _descends(pid, roots, parents)) / os.sysconf("SC_CLK_TCK")


def _processes() -> Iterator[tuple[int, list[str]]]:
    """(pid, the fields of its stat file from the state on); what ends meanwhile is left out."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path("/proc", entry, "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        # The name before it may hold spaces and brackets.
        yield int(entry), text.rpartition(")")[2].split()


def _descends(pid: int, roots: Collection[int], parents: dict[int, int]) -> bool:
    seen = set()
    while pid not in roots:
        if pid in seen or pid not in parents:
            return False
        seen.add(pid)
        pid = parents[pid]
    return True


def _processor() -> str:
    """The processor's model as the kernel names it; the architecture where it does not."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
