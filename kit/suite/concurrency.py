"""Decide how many runs may run in parallel before CPU contention invalidates what they measure.

The CPU demand of a run is measured on the run itself once its load is steady: the CPU time of its whole process tree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from kit.process.cpu import cores

# A run's CPU demand is known after this much of its steady state; until then it runs alone.
DEMAND_KNOWN_AFTER_S = 5.0
# The CPU use of other processes is averaged over this time.
OTHER_PROCESSES_WINDOW_S = 10.0
# Parallel runs may demand this share of all cores on average, and there are never more runs than cores, because all
# of them may be busy at once. Two runs of 0.6 to 0.8 cores must fit into two cores, and leave each other more than
# what a run calls too little for a judgement (kit.gameday.noise.CORES_LEFT_MIN).
USABLE_SHARE = 0.9


@dataclass(slots=True, kw_only=True)
class ConcurrencySlots:
    """How many runs may run in parallel.

    `requested`: a number given by the caller, None = measure. `members`: the number of runs, an upper bound.
    `shared_cloud`: all runs use one local AWS, whose CPU time cannot be attributed to any of them.
    `run_invalidated`: CPU contention has invalidated a run. `demand_cores`: CPU demand by run.
    `other_processes_cores`: CPU use of all processes that belong to no run.
    """

    requested: int | None
    members: int
    shared_cloud: bool = False
    cores: float = field(default_factory=cores)
    run_invalidated: bool = False
    other_processes_cores: float = 0.0
    demand_cores: dict[str, float] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)

    def update(self, after_s: float) -> tuple[int, str]:
        """Return the number of slots, and the reason if the number has changed since the last call (else empty)."""
        slots, reason = self._count()
        if self.changes and self.changes[-1]["slots"] == slots:
            return slots, ""
        self.changes.append({"after_s": round(after_s, 1), "slots": slots, "reason": reason})
        return slots, reason

    def plain(self) -> dict[str, Any]:
        """Return the JSON form for the suite's record."""
        return {
            "requested": self.requested or "auto",
            "cores": self.cores,
            "usable_share": USABLE_SHARE,
            "demand_cores_max": round(max(self.demand_cores.values()), 3) if self.demand_cores else None,
            "changes": list(self.changes),
        }

    def _count(self) -> tuple[int, str]:
        if self.requested is not None:
            return self.requested, "as requested"
        if self.shared_cloud:
            return 1, "all runs share one local AWS, so the CPU demand of each cannot be measured"
        if not self.demand_cores:
            return 1, "the CPU demand of a run is not measured yet"
        if self.run_invalidated:
            return 1, "CPU contention invalidated a run"
        demand = max(self.demand_cores.values())
        reason = (
            f"a run needs {demand:.2f} cores, {USABLE_SHARE:.0%} of {self.cores:g} cores may be used, other processes "
            f"use {self.other_processes_cores:.2f}"
        )
        usable = self.cores * USABLE_SHARE - self.other_processes_cores
        fitting = math.floor(usable / demand) if demand > 0 else 1
        return max(1, min(self.members, fitting, math.floor(self.cores))), reason
