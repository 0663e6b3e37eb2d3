"""Sample which processes used the CPU, and say whether others left a run the CPU time that it needed.

Times that were measured under CPU contention (a noisy neighbour) say nothing about the build.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kit.process import cpu

# In a second in which less than this share of the CPU was idle, no process could get more of it.
IDLE_SHARE_MIN = 0.05
# In such a second the run was starved if other processes, or the host by stealing, took at least this share of the CPU.
OTHERS_SHARE_MIN = 0.15
# A run that was starved for more than this share of its measured time has invalid latencies.
STARVED_SHARE_MAX = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSample:
    """About one second of the machine, in CPU seconds. `trees_s`: what each watched process tree used.

    `all_s`: of all CPUs on which this process may run; `allowed_s`: of the cores that it may use, which is less under
    a quota. `stalled_s`: wall time in which at least one process waited for a core, None if the kernel does not tell.
    """

    at: float
    span_s: float
    all_s: float
    allowed_s: float
    busy_s: float
    stolen_s: float
    stalled_s: float | None
    trees_s: Mapping[str, float] = field(default_factory=dict)

    def others_s(self, name: str) -> float:
        """Return the CPU time of everything but that tree, the host included."""
        return max(0.0, self.busy_s + self.stolen_s - self.trees_s.get(name, 0.0))

    @property
    def outside_trees_s(self) -> float:
        """What processes outside all watched trees took, the host included."""
        return max(0.0, self.busy_s + self.stolen_s - sum(self.trees_s.values()))

    def starves(self, name: str) -> bool:
        """Return whether that tree could get no more CPU, and others took a part of it."""
        full = self.busy_s + self.stolen_s > (1 - IDLE_SHARE_MIN) * self.all_s
        if full and self.others_s(name) >= OTHERS_SHARE_MIN * self.all_s:
            return True
        # Under a quota the machine may be idle although the watched trees have used the quota up.
        known_s = sum(self.trees_s.values())
        beside_s = known_s - self.trees_s.get(name, 0.0)
        return known_s > (1 - IDLE_SHARE_MIN) * self.allowed_s and beside_s >= OTHERS_SHARE_MIN * self.allowed_s


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuContention:
    """How the CPU was shared while one run was measured. Shares are of all CPU time; `stalled_share` of the time."""

    seconds: float
    own_cores: float
    busy_share: float
    stolen_share: float
    others_share: float
    stalled_share: float | None
    starved_share: float

    @property
    def high(self) -> bool:
        """Whether the run's times are invalidated by CPU contention."""
        return self.starved_share > STARVED_SHARE_MAX

    def __str__(self) -> str:
        stalled = "" if self.stalled_share is None else f", a process waited for a core {self.stalled_share:.0%} of it"
        return (
            f"{self.seconds:.0f} s measured, the run used {self.own_cores:.2f} cores, other processes took "
            f"{self.others_share:.0%} of the CPU ({self.stolen_share:.1%} stolen by the host), the run was starved "
            f"{self.starved_share:.0%} of the time{stalled}"
        )

    def plain(self) -> dict[str, Any]:
        """Return it for JSON, `high` and its bound included."""
        rounded = {name: None if value is None else round(value, 4) for name, value in asdict(self).items()}
        return {**rounded, "starved_share_max": STARVED_SHARE_MAX, "high": self.high, "words": str(self)}


def contention(samples: Iterable[CpuSample], name: str, start: float, end: float) -> CpuContention | None:
    """Summarise the samples between two times (epoch s) for the tree `name`; None without a sample."""
    during = [sample for sample in samples if start < sample.at <= end + sample.span_s / 2]
    span_s, all_s = sum(sample.span_s for sample in during), sum(sample.all_s for sample in during)
    if not span_s or not all_s:
        return None
    stalled = [sample.stalled_s for sample in during if sample.stalled_s is not None]
    return CpuContention(
        seconds=span_s,
        own_cores=sum(sample.trees_s.get(name, 0.0) for sample in during) / span_s,
        busy_share=sum(sample.busy_s for sample in during) / all_s,
        stolen_share=sum(sample.stolen_s for sample in during) / all_s,
        others_share=sum(sample.others_s(name) for sample in during) / all_s,
        stalled_share=min(1.0, sum(stalled) / span_s) if stalled else None,
        starved_share=sum(sample.span_s for sample in during if sample.starves(name)) / span_s,
    )


def other_processes_cores(samples: Iterable[CpuSample], start: float) -> float:
    """Return how many cores processes outside all trees took since a time (epoch s); 0 without a sample."""
    during = [sample for sample in samples if sample.at > start]
    span_s = sum(sample.span_s for sample in during)
    return sum(sample.outside_trees_s for sample in during) / span_s if span_s else 0.0


class CpuSampler:
    """Turn the counters of the machine and of process trees into samples. For one thread only."""

    def __init__(self, proc: Path = cpu.PROC) -> None:
        self._proc = proc
        self._cores = cpu.cores()
        self._trees: dict[str, float] = {}
        self._at, self._times, self._stalled = self._read()

    def sample(self, roots: Mapping[str, int]) -> CpuSample | None:
        """Return what happened since the last call; None if /proc does not tell. `roots`: name → root of a tree."""
        at, times, stalled = self._read()
        trees = cpu.tree_seconds({name: [pid] for name, pid in roots.items()})
        before, span_s, known, stalled_before = self._times, at - self._at, self._trees, self._stalled
        self._at, self._times, self._stalled, self._trees = at, times, stalled, trees
        if before is None or times is None or span_s <= 0:
            return None
        return CpuSample(
            at=time.time(), span_s=span_s, all_s=times.all_s - before.all_s, allowed_s=self._cores * span_s,
            busy_s=times.busy_s - before.busy_s, stolen_s=times.stolen_s - before.stolen_s,
            stalled_s=None if stalled is None or stalled_before is None else stalled - stalled_before,
            trees_s={name: max(0.0, used_s - known.get(name, 0.0)) for name, used_s in trees.items()},
        )  # fmt: skip

    def used_s(self, name: str) -> float:
        """Return the CPU seconds that the tree had used at the last sample."""
        return self._trees.get(name, 0.0)

    def _read(self) -> tuple[float, cpu.CpuTimes | None, float | None]:
        return time.monotonic(), cpu.cpu_times(self._proc), cpu.stalled_seconds(self._proc)
