"""What the machine has, and what it was busy with while a run was measured.

Owns the reading of /proc and the judgement whether others left a run the CPU time that it needed. Knows nothing of
scenarios or verdicts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kit.process.supervisor import stat

PROC = Path("/proc")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
US_PER_S = 1_000_000
# A second in which less than this share of the machine was idle had nothing to spare.
IDLE_SHARE_MIN = 0.05
# … and it is others' fault when they, or the host by stealing, took at least this share of the machine.
OTHERS_SHARE_MIN = 0.15
# More than this share of a run's measured time without CPU to spare, because of others, and its latencies are doubted.
STARVED_SHARE_MAX = 0.10
# Where the fields of /proc/<pid>/stat stand after the name: parent, and CPU ticks of itself and its reaped children.
PARENT_AT, TICKS_AT = 1, slice(11, 15)


def cores() -> float:
    """How many CPU cores this process and its children may use: affinity, and the control group's quota if any."""
    allowed = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = CPU_QUOTA.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else min(allowed, int(quota) / int(period))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """About one second of the machine. All but the times are CPU seconds: `all_s` of its cores, `ours_s` of those that
    may be used here. `stalled_s` is wall time in which at least one process waited for a core (pressure stall
    information), None where the kernel does not tell.
    """

    at: float
    span_s: float
    all_s: float
    ours_s: float
    busy_s: float
    stolen_s: float
    stalled_s: float | None
    trees_s: Mapping[str, float] = field(default_factory=dict)

    def others_s(self, name: str) -> float:
        """What everything but that tree took, the host's share included."""
        return max(0.0, self.busy_s + self.stolen_s - self.trees_s.get(name, 0.0))

    @property
    def strangers_s(self) -> float:
        """What everything took that belongs to none of the trees."""
        return max(0.0, self.busy_s + self.stolen_s - sum(self.trees_s.values()))

    def starves(self, name: str) -> bool:
        """Whether that tree had no CPU to spare and others took a part of it."""
        full = self.busy_s + self.stolen_s > (1 - IDLE_SHARE_MIN) * self.all_s
        if full and self.others_s(name) >= OTHERS_SHARE_MIN * self.all_s:
            return True
        # With a quota the machine may be idle all the while: then only the runs themselves can use it up.
        known_s = sum(self.trees_s.values())
        beside_s = known_s - self.trees_s.get(name, 0.0)
        return known_s > (1 - IDLE_SHARE_MIN) * self.ours_s and beside_s >= OTHERS_SHARE_MIN * self.ours_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """How the machine was while one run was measured; shares are of all cores, `stalled_share` of the time."""

    seconds: float
    own_cores: float
    busy_share: float
    stolen_share: float
    others_share: float
    stalled_share: float | None
    starved_share: float

    @property
    def high(self) -> bool:
        """Whether what the run measured may be the machine's doing."""
        return self.starved_share > STARVED_SHARE_MAX

    def __str__(self) -> str:
        stalled = "" if self.stalled_share is None else f", a process waited for a core {self.stalled_share:.0%} of it"
        return (
            f"{self.seconds:.0f} s measured, {self.own_cores:.2f} cores its own, {self.others_share:.0%} of the "
            f"machine taken by others ({self.stolen_share:.1%} by the host), nothing to spare "
            f"{self.starved_share:.0%} of the time{stalled}"
        )

    def plain(self) -> dict[str, Any]:
        """For JSON; `high` and the bound included."""
        rounded = {name: None if value is None else round(value, 4) for name, value in asdict(self).items()}
        return {**rounded, "starved_share_max": STARVED_SHARE_MAX, "high": self.high, "words": str(self)}


def pressure(samples: Iterable[Sample], name: str, start: float, end: float) -> Pressure | None:
    """The machine as the tree `name` found it between two times (epoch s); None without a sample."""
    seen = [sample for sample in samples if start < sample.at <= end + sample.span_s / 2]
    span_s, all_s = sum(sample.span_s for sample in seen), sum(sample.all_s for sample in seen)
    if not span_s or not all_s:
        return None
    stalled = [sample.stalled_s for sample in seen if sample.stalled_s is not None]
    return Pressure(
        seconds=span_s,
        own_cores=sum(sample.trees_s.get(name, 0.0) for sample in seen) / span_s,
        busy_share=sum(sample.busy_s for sample in seen) / all_s,
        stolen_share=sum(sample.stolen_s for sample in seen) / all_s,
        others_share=sum(sample.others_s(name) for sample in seen) / all_s,
        stalled_share=min(1.0, sum(stalled) / span_s) if stalled else None,
        starved_share=sum(sample.span_s for sample in seen if sample.starves(name)) / span_s,
    )


def strangers_cores(samples: Iterable[Sample], start: float) -> float:
    """How many cores processes outside all trees took since then (epoch s); 0 without a sample."""
    seen = [sample for sample in samples if sample.at > start]
    span_s = sum(sample.span_s for sample in seen)
    return sum(sample.strangers_s for sample in seen) / span_s if span_s else 0.0


class Watch:
    """Counters of the machine and of process trees, turned into samples. Not to be shared between threads."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._cores = cores()
        self._at = time.monotonic()
        self._counters = self._read()
        self._trees: dict[str, float] = {}

    def sample(self, roots: Mapping[str, int]) -> Sample | None:
        """What happened since the last call; None if /proc does not tell. `roots`: name → first process of a tree."""
        at, counters, trees = time.monotonic(), self._read(), tree_seconds(roots)
        before, span_s, known = self._counters, at - self._at, self._trees
        self._at, self._counters, self._trees = at, counters, trees
        if before is None or counters is None or span_s <= 0:
            return None
        gained = [new - old for new, old in zip(counters[:3], before[:3], strict=True)]
        stalled = None if counters[3] is None or before[3] is None else counters[3] - before[3]
        used = {name: max(0.0, used_s - known.get(name, 0.0)) for name, used_s in trees.items()}
        return Sample(
            at=time.time(), span_s=span_s, all_s=gained[0], ours_s=self._cores * span_s, busy_s=gained[1],
            stolen_s=gained[2], stalled_s=stalled, trees_s=used,
        )  # fmt: skip

    def used_s(self, name: str) -> float:
        """CPU seconds that the tree had used when it was last looked at."""
        return self._trees.get(name, 0.0)

    def _read(self) -> tuple[float, float, float, float | None] | None:
        """All, busy and stolen CPU seconds of the machine, and stalled seconds, since boot."""
        try:
            words = (self._proc / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
            user, nice, system, idle, waiting, irq, softirq, stolen = (int(word) / TICKS_PER_S for word in words)
        except (OSError, ValueError):
            return None
        busy = user + nice + system + irq + softirq
        return busy + idle + waiting + stolen, busy, stolen, self._stalled()

    def _stalled(self) -> float | None:
        try:
            line = (self._proc / "pressure" / "cpu").read_text(encoding="ascii").split("\n", 1)[0]
            return int(line.rpartition("total=")[2]) / US_PER_S
        except (OSError, ValueError):
            return None


def tree_seconds(roots: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds of each process tree, those that it has reaped included. A root that is gone is left out."""
    if not roots:
        return {}
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for entry in os.listdir(PROC):
        if entry.isdigit() and (fields := stat(int(entry))) is not None:
            children.setdefault(int(fields[PARENT_AT]), []).append(int(entry))
            ticks[int(entry)] = sum(int(field) for field in fields[TICKS_AT])
    return {name: _ticks(root, children, ticks) / TICKS_PER_S for name, root in roots.items() if root in ticks}


def _ticks(root: int, children: Mapping[int, Sequence[int]], ticks: Mapping[int, int]) -> int:
    total, queue = 0, [root]
    while queue:
        pid = queue.pop()
        total += ticks[pid]
        queue += children.get(pid, ())
    return total
