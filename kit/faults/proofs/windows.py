"""The three stretches of time that an effect is looked for in: before, in force, after.

Owns what clocks, publishing, hanging calls and the experiment's other actions do to their edges; knows no metric. What
is told at `t` happened in (t - spread_s, t].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kit.faults.proofs.proof_context import Action, Pair, Point, Scene
from kit.fis_rules.catalog import HARMLESS

# Clocks and FIS's own bookkeeping may disagree by this much with what others record.
SKEW_S = 2.0
# PaperBroker's tasks publish this often.
PUBLISH_S = 5.0
# A fault acts at once; what was under way when it came or went is done by then.
SETTLE_S = 1.0
# A call that hung when a fault ended has failed by then: two tries of a second to connect and two to read.
LINGER_S = 6.0
# This much of the time before the fault is looked at.
BEFORE_S_MAX = 120.0
# Of what is told at once, at least this part must have happened in the action's own time.
COVERED_PART_MIN = 0.5
# Actions that can make calls slow or fail; of others that run right before or after, nothing is mistaken for this one.
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
    """Epoch seconds. `force` is empty where the action was too short to be told from the one before it.

    `foreign` are the times of the experiment's earlier and later actions that do the like at the same place.
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
        """Whether what is told at `t` happened before the experiment's first action."""
        return self.before_start + spread_s <= t <= self.injected_at

    def covered(self, t: float, spread_s: float = PUBLISH_S, late_s: float = 0.0) -> float:
        """Which part of what is told at `t` happened in the action's time; 0 if too little did, or a foreign one's too.

        `late_s`: what it caused may be told that much after its end.
        """
        start = t - spread_s
        if any(start < end and begin < t for begin, end in self.foreign):
            return 0.0
        inside = min(t, self.force_end + late_s) - max(start, self.force_start)
        part = inside / spread_s
        return part if part >= COVERED_PART_MIN else 0.0

    def after(self, t: float) -> bool:
        """Whether it is told after the end of the experiment."""
        return t >= self.after_start


def windows_of(
    scene: Scene,
    action: Action,
    pair: Pair | None = None,
    *,
    linger_s: float = SETTLE_S,
    until: float | None = None,
) -> Windows | None:
    """An action's windows at a place; None while it has not ended.

    Before = before anything of the experiment; after = after all of it. `until`: when its effect ends, if not with
    itself; `linger_s`: how long what another action did there may still show after that one's end.
    """
    start, end = action["start"], action["end"] if until is None else until
    if start is None or end is None:
        return None
    others = [each for each in scene.experiment.actions if each["action_id"] not in HARMLESS and each["start"]]
    foreign = [
        (each["start"], (each["end"] or float("inf")) + linger_s)
        for each in others
        if _is_apart(each, action) and pair is not None and _acts_at(scene, each, pair)
    ]
    return Windows(
        injected_at=min((each["start"] for each in others), default=start),
        force_start=max([start, *(gone for begun, gone in foreign if begun < start)]),
        force_end=end,
        after_start=max(scene.experiment.ended_at or end, end),
        foreign=tuple(foreign),
    )


def _is_apart(other: Action, action: Action) -> bool:
    """Whether it ran before or after, and not at the same time: those are told apart by their witnesses only."""
    if other["name"] == action["name"] or action["end"] is None:
        return False
    return (other["end"] or float("inf")) <= action["start"] + SKEW_S or other["start"] >= action["end"] - SKEW_S


def _acts_at(scene: Scene, other: Action, pair: Pair) -> bool:
    if other["action_id"] not in DISTURBING:
        return False
    places = {(each.component, each.zone) for each in scene.pairs(other)}
    return not places or not pair.zone or (pair.component, pair.zone) in places


def within(points: Iterable[Point], start: float, end: float) -> list[Point]:
    """The points of [start, end]."""
    return [point for point in points if start <= point[0] <= end]
