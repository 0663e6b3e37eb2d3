"""How many runs may go on side by side without one spoiling what another measures. Pure but for the core count.

The need of a run is measured on the run itself, as soon as its load is steady: the CPU time of its whole process tree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from kit.process.cpu import cores

# A run's need of CPU is known after this much of its steady state; until then it runs alone.
NEED_AFTER_S = 5.0
# What strangers take is the mean of this long.
STRANGERS_OVER_S = 10.0
# Runs side by side may need this share of all cores on average, and are never more than cores, because all of them may
# be busy at once. Two runs of 0.6 to 0.8 cores must fit into two cores, and leave each other more than what a run calls
# too little for a judgement (kit.gameday.findings.CORES_LEFT_MIN).
USABLE_SHARE = 0.9


@dataclass(slots=True, kw_only=True)
class Places:
    """`asked`: a number given by the caller, None = find out. `members`: more than that are never of use. `shared`: all
    runs use one local AWS, whose CPU time belongs to none of them. `needs`: cores by run. `strangers`: cores that
    everything else on this machine takes.
    """

    asked: int | None
    members: int
    shared: bool = False
    cores: float = field(default_factory=cores)
    spoiled: bool = False
    strangers: float = 0.0
    needs: dict[str, float] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)

    def now(self, after_s: float) -> tuple[int, str]:
        """How many, and why if that has changed since the last question (else empty)."""
        places, why = self._reckon()
        if self.changes and self.changes[-1]["places"] == places:
            return places, ""
        self.changes.append({"after_s": round(after_s, 1), "places": places, "why": why})
        return places, why

    def plain(self) -> dict[str, Any]:
        """For the suite's record."""
        return {
            "asked": self.asked or "auto",
            "cores": self.cores,
            "usable_share": USABLE_SHARE,
            "need_cores": round(max(self.needs.values()), 3) if self.needs else None,
            "changes": list(self.changes),
        }

    def _reckon(self) -> tuple[int, str]:
        if self.asked is not None:
            return self.asked, "as asked for"
        if self.shared:
            return 1, "all runs share the local AWS that is up, so their needs cannot be told apart"
        if not self.needs:
            return 1, "until the first run has shown what it needs"
        if self.spoiled:
            return 1, "the machine spoiled a run"
        need = max(self.needs.values())
        usable = f"{USABLE_SHARE:.0%} of {self.cores:g} may be used, others take {self.strangers:.2f}"
        why = f"a run needs {need:.2f} cores, {usable}"
        fitting = math.floor((self.cores * USABLE_SHARE - self.strangers) / need) if need > 0 else 1
        return max(1, min(self.members, fitting, math.floor(self.cores))), why
