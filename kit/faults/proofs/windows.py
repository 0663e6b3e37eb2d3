"""The three stretches of time that an effect is looked for in: before, in force, after.

Owns what clocks, publishing and hanging calls do to their edges; knows no metric. A point of PaperBroker's metrics at
`t` tells of (t - PUBLISH_S, t].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kit.faults.proofs.scene import HARMLESS, Action, Point, Scene

NS_PER_S = 1_000_000_000
# Clocks and FIS's own bookkeeping may disagree by this much with what others record.
SKEW_S = 2.0
# PaperBroker's tasks publish this often.
PUBLISH_S = 5.0
# A call that hung when a fault ended has come back by then: two tries of a second to connect and two to read.
LINGER_S = 6.0
# This much of the time before the fault is looked at.
BEFORE_S_MAX = 300.0
# The load's first seconds are cold caches and new connections.
WARM_UP_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Epoch seconds. `force` may be empty: then the action was too short to be told from the one before it."""

    before_start: float
    injected_at: float
    force_start: float
    force_end: float
    after_start: float

    @property
    def force_s(self) -> float:
        return max(0.0, self.force_end - self.force_start)

    def before(self, t: float, spread_s: float = PUBLISH_S) -> bool:
        """Whether what a point at `t` tells lies before the experiment's first action."""
        return self.before_start + spread_s <= t <= self.injected_at

    def force(self, t: float, spread_s: float = PUBLISH_S, late_s: float = 0.0) -> bool:
        """Whether it lies in the action's time; `late_s` admits what is only told that much after its end."""
        return self.force_start + spread_s <= t <= self.force_end + late_s

    def after(self, t: float) -> bool:
        """Whether it is told after the end of the experiment."""
        return t >= self.after_start


def windows_of(scene: Scene, action: Action, *, until: float | None = None) -> Windows | None:
    """An action's windows; None while it has not ended. `until`: when its effect ends, if not with itself.

    Before = before anything of the experiment; after = after all of it. What an action right before this one did to
    calls that still hang is left out of `force`.
    """
    start, end = action["start"], action["end"] if until is None else until
    if start is None or end is None:
        return None
    others = [each for each in scene.experiment.actions if each["action_id"] not in HARMLESS and each["start"]]
    injected_at = min((each["start"] for each in others), default=start)
    ended_at = max([scene.experiment.ended_at or end, end])
    earlier = [each["end"] for each in others if each["start"] < start and each["end"]]
    lingering = [gone + LINGER_S for gone in earlier if start - LINGER_S < gone <= start + SKEW_S]
    return Windows(
        before_start=max(injected_at - BEFORE_S_MAX, _load_start(scene)),
        injected_at=injected_at,
        force_start=max([start, *lingering]),
        force_end=end,
        after_start=ended_at,
    )


def _load_start(scene: Scene) -> float:
    if scene.attempts is None or scene.attempts.empty:
        return float("-inf")
    return float(scene.attempts["intended_ns"].min()) / NS_PER_S + WARM_UP_S


def within(points: Iterable[Point], start: float, end: float) -> list[Point]:
    """The points of [start, end]."""
    return [point for point in points if start <= point[0] <= end]
