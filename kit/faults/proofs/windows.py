"""Compute the three windows in which an effect is looked for: before, in force, after.

Their edges allow for clocks, publish intervals, hanging calls and the experiment's other actions. What is reported at
`t` happened in (t - spread_s, t].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kit.faults.proofs.proof_context import Action, Location, Point, ProofContext
from kit.fis_rules.catalog import HARMLESS

# Other records may differ from FIS's timestamps by this much.
SKEW_S = 2.0
# PaperBroker's tasks publish this often.
PUBLISH_S = 5.0
# A fault acts at once; calls that were in flight when it began or ended are done after this time.
SETTLE_S = 1.0
# A call that hung when a fault ended has failed after this time: two attempts, each 1 s to connect and 2 s to read.
LINGER_S = 6.0
# The window before the fault is at most this long.
BEFORE_S_MAX = 120.0
# At least this part of what one report covers must have happened in the action's own time.
COVERED_PART_MIN = 0.5
# Actions that can make calls slow or fail: their effect may be mistaken for that of an action right before or after.
DISTURBING = frozenset(
    {
        "aws:ecs:task-cpu-stress",
        "aws:ecs:task-io-stress",
        "aws:ecs:task-network-latency",
        "aws:ecs:task-network-packet-loss",
        "aws:network:disrupt-connectivity",
        "aws:network:disrupt-vpc-endpoint",
        "aws:ssm:start-automation-execution",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Epoch seconds. `force` is empty if the action was too short to be separated from the one before it.

    `foreign` are the times of earlier and later actions with a similar effect at the same location.
    """

    injected_at: float
    force_start: float
    force_end: float
    after_start: float
    foreign: tuple[tuple[float, float], ...] = ()

    @property
    def before_start(self) -> float:
        return self.injected_at - BEFORE_S_MAX

    @property
    def force_s(self) -> float:
        return max(0.0, self.force_end - self.force_start)

    def before(self, t: float, spread_s: float = PUBLISH_S) -> bool:
        """Return whether what is reported at `t` happened before the experiment's first action."""
        return self.before_start + spread_s <= t <= self.injected_at

    def covered(self, t: float, spread_s: float = PUBLISH_S, late_s: float = 0.0) -> float:
        """Return which part of what is reported at `t` happened in the action's time.

        0 if the part is too small, or if a foreign action overlaps. Effects may be reported `late_s` after the end.
        """
        start = t - spread_s
        if any(start < end and begin < t for begin, end in self.foreign):
            return 0.0
        inside = min(t, self.force_end + late_s) - max(start, self.force_start)
        part = inside / spread_s
        return part if part >= COVERED_PART_MIN else 0.0

    def after(self, t: float) -> bool:
        """Return whether `t` is after the end of the experiment."""
        return t >= self.after_start


def windows_of(
    context: ProofContext,
    action: Action,
    location: Location | None = None,
    *,
    linger_s: float = SETTLE_S,
    until: float | None = None,
) -> Windows | None:
    """Return an action's windows at a location; None while the action has not ended.

    "Before" ends with the first action of the experiment, "after" begins with the end of the last one. `until` is when
    the effect ends, if not with the action; `linger_s` is how long effects of other actions outlast those actions.
    """
    start, end = action["start"], action["end"] if until is None else until
    if start is None or end is None:
        return None
    others = [each for each in context.experiment.actions if each["action_id"] not in HARMLESS and each["start"]]
    foreign = [
        (each["start"], (each["end"] or float("inf")) + linger_s)
        for each in others
        if _is_apart(each, action) and location is not None and _acts_at(context, each, location)
    ]
    return Windows(
        injected_at=min((each["start"] for each in others), default=start),
        force_start=max([start, *(gone for begun, gone in foreign if begun < start)]),
        force_end=end,
        after_start=max(context.experiment.ended_at or end, end),
        foreign=tuple(foreign),
    )


def _is_apart(other: Action, action: Action) -> bool:
    """Return whether it ran before or after the action. Actions at the same time differ only by their evidence."""
    if other["name"] == action["name"] or action["end"] is None:
        return False
    return (other["end"] or float("inf")) <= action["start"] + SKEW_S or other["start"] >= action["end"] - SKEW_S


def _acts_at(context: ProofContext, other: Action, location: Location) -> bool:
    if other["action_id"] not in DISTURBING:
        return False
    locations = {(each.component, each.zone) for each in context.locations(other)}
    return not locations or not location.zone or (location.component, location.zone) in locations


def within(points: Iterable[Point], start: float, end: float) -> list[Point]:
    """Return the points in [start, end]."""
    return [point for point in points if start <= point[0] <= end]
