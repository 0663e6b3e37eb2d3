"""Read from /proc and the control group how many CPU cores there are, and which processes used them. Linux only."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.process.supervisor import stat

PROC = Path("/proc")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
US_PER_S = 1_000_000
# Fields of /proc/<pid>/stat after the name: parent, and CPU ticks of the process and of its reaped children.
PARENT_FIELD, TICKS_FIELDS = 1, slice(11, 15)


def cores() -> float:
    """Return how many cores this process may use: its affinity, and the quota of its control group if there is one."""
    allowed = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = CPU_QUOTA.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else min(allowed, int(quota) / int(period))


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """CPU seconds since boot of the CPUs on which this process may run. `stolen_s`: taken by the host."""

    all_s: float
    busy_s: float
    stolen_s: float


def cpu_times(proc: Path = PROC) -> CpuTimes | None:
    """Read the machine's counters; None if /proc does not have them."""
    names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    try:
        rows = [line.split() for line in (proc / "stat").read_text(encoding="ascii").splitlines()]
        # user, nice, system, idle, iowait, irq, softirq, steal; guest time is part of user time.
        cpus = [[int(word) / TICKS_PER_S for word in row[1:9]] for row in rows if row and row[0] in names]
        user, nice, system, idle, waiting, irq, softirq, stolen = (sum(column) for column in zip(*cpus, strict=True))
    except (OSError, ValueError):
        return None
    busy_s = user + nice + system + irq + softirq
    return CpuTimes(all_s=busy_s + idle + waiting + stolen, busy_s=busy_s, stolen_s=stolen)


def stalled_seconds(proc: Path = PROC) -> float | None:
    """Read for how long since boot at least one process waited for a core; None if the kernel does not measure it."""
    try:
        line = (proc / "pressure" / "cpu").read_text(encoding="ascii").split("\n", 1)[0]
        return int(line.rpartition("total=")[2]) / US_PER_S
    except (OSError, ValueError):
        return None


def tree_seconds(roots: Mapping[str, Collection[int]]) -> dict[str, float]:
    """Return the CPU seconds of each group of processes and all their descendants, reaped ones included.

    `roots`: name → first processes of the group. A group of which no first process is left is left out.
    """
    if not roots:
        return {}
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for entry in os.listdir(PROC):
        if entry.isdigit() and (fields := stat(int(entry))) is not None:
            children.setdefault(int(fields[PARENT_FIELD]), []).append(int(entry))
            ticks[int(entry)] = sum(int(field) for field in fields[TICKS_FIELDS])
    return {
        name: sum(ticks[pid] for pid in _descendants(pids, children) if pid in ticks) / TICKS_PER_S
        for name, pids in roots.items()
        if any(pid in ticks for pid in pids)
    }


def _descendants(roots: Collection[int], children: Mapping[int, list[int]]) -> set[int]:
    found: set[int] = set()
    queue = list(roots)
    while queue:
        pid = queue.pop()
        if pid not in found:
            found.add(pid)
            queue += children.get(pid, ())
    return found
