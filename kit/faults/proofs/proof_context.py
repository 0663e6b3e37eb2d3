"""The inputs and the result of effect checks.

`kit.collect` implements `Samples` and `Meters`. They are Protocols, because stages may not import each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd

from kit.aws.client_errors import ClientSource
from kit.faults.experiments import Experiment
from kit.model import Deployment

# What PaperBroker's metrics call its roles.
COMPONENTS = ("api", "matcher", "relay")
TASK = "aws:ecs:task"

# (epoch s, value)
Point = tuple[float, float]
Action = Mapping[str, Any]


class Samples(Protocol):
    """Tasks and target health, sampled from before the fault until after it."""

    def tasks(self) -> pd.DataFrame:
        """Return columns t, zone, service, running."""
        ...

    def targets(self) -> pd.DataFrame:
        """Return columns t, subnet, zone, state, count, with a row for `healthy` in every sample of a subnet."""
        ...


class Meters(Protocol):
    """Read CloudWatch, one series at a time."""

    def points(
        self,
        *,
        namespace: str,
        metric: str,
        dimensions: Mapping[str, str],
        statistic: str,
        start: float,
        end: float,
        fine: bool = True,
    ) -> list[Point]:
        """Return the points by time; `fine` reads by the second, for metrics published at high resolution."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """When the effect of one action was first seen, and when it was seen to be gone; None means never."""

    observed_at: float | None
    healed_at: float | None
    detail: str


EffectCheck = Callable[["ProofContext", Action], Proof]


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """One component in one zone, the dimensions of PaperBroker's metrics. An empty zone means all zones.

    `tasks` is how many of its tasks were targets; 0 means an unknown number.
    """

    component: str
    zone: str
    tasks: int = 0

    def __str__(self) -> str:
        return f"{self.component} in {self.zone}" if self.zone else self.component


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofContext:
    """The evidence of one experiment. `attempts` is the clients' history; `evidence` maps actions to their sources."""

    session: ClientSource
    deployment: Deployment
    experiment: Experiment
    samples: Samples | None = None
    meters: Meters | None = None
    attempts: pd.DataFrame | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)

    def chosen(self, action: Action) -> list[dict[str, Any]]:
        """Return the targets that FIS resolved for an action."""
        return [target for target in self.experiment.targets if target["name"] in action["targets"]]

    def locations(self, action: Action) -> list[Location]:
        """Return the components and zones of the targets; a subnet means every component in its zone."""
        found: Counter[tuple[str, str]] = Counter()
        for target in self.chosen(action):
            counts = 1 if target["type"] == TASK else 0
            found.update({(component, target["zone"]): counts for component in _components(target)})
        return [Location(component=component, zone=zone, tasks=n) for (component, zone), n in sorted(found.items())]

    def neighbours(self, location: Location, targets: Iterable[Location]) -> list[Location]:
        """Return the same component in the zones that the action did not hit: an effect there has another cause."""
        if self.samples is None or not location.zone:
            return []
        hit = {each.zone for each in targets if each.component == location.component}
        zones = sorted(set(self.samples.tasks()["zone"]) - hit)
        return [Location(component=location.component, zone=zone) for zone in zones if zone]


def _components(target: Mapping[str, Any]) -> tuple[str, ...]:
    if target["type"] != TASK:
        return COMPONENTS
    component = target.get("tags", {}).get("Component") or target["service"]
    return (component,) if component else ()


def unproven(detail: str) -> Proof:
    """Return the proof of an effect that was not seen, with the reason."""
    return Proof(observed_at=None, healed_at=None, detail=detail)


def all_or_none(times: Iterable[float | None], pick: Callable[[list[float]], float]) -> float | None:
    """Return `pick` of the times if all of them are known, else None."""
    listed = list(times)
    known = [time for time in listed if time is not None]
    return pick(known) if known and len(known) == len(listed) else None


def every(proofs: Iterable[Proof]) -> Proof:
    """Combine proofs: seen if all were seen, healed when the last one was."""
    listed = list(proofs)
    return Proof(
        observed_at=all_or_none([proof.observed_at for proof in listed], min),
        healed_at=all_or_none([proof.healed_at for proof in listed], max),
        detail="; ".join(proof.detail for proof in listed),
    )


def first_of(*attempts: Callable[[], Proof]) -> Proof:
    """Return the first complete proof, else the first that saw the effect, else the reasons of all."""
    tried: list[Proof] = []
    for attempt in attempts:
        proof = attempt()
        if proof.observed_at is not None and proof.healed_at is not None:
            return proof
        tried.append(proof)
    seen = next((proof for proof in tried if proof.observed_at is not None), None)
    return seen or unproven("; ".join(proof.detail for proof in tried))


def healed_words(healed_at: float | None, word: str) -> str:
    """Return how the detail of a proof ends."""
    return ", never seen " + word if healed_at is None else f", {word}"
