"""Which scenarios a suite runs, and for how long. Values only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kit import scenarios
from kit.errors import UsageError
from kit.scenarios import Scenario

DURATIONS = ("steady_s", "fault_duration_s", "recovery_s")
FAULTS = (
    "az-loss",
    "network-impairment",
    "data-throttling",
    "api-latency",
    "dependency-loss",
    "matcher-freeze",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named list of scenarios. `brief`: each with its brief parameters, else with its full ones, the durations
    multiplied by `stretch`. Scenarios that the kit has and no suite names belong to those that take `others`.
    """

    name: str
    title: str
    scenarios: tuple[str, ...]
    brief: bool
    others: bool = False
    stretch: Mapping[str, int] = field(default_factory=dict)

    def members(self) -> tuple[str, ...]:
        """Its scenarios, those that the kit has."""
        known = scenarios.names()
        more = sorted(set(known) - set(self.scenarios)) if self.others else []
        return tuple(name for name in (*self.scenarios, *more) if name in known)

    def parameters(self, scenario: Scenario) -> dict[str, int]:
        """What a run of the scenario is given, before anything that the caller asks for."""
        if self.brief:
            return dict(scenario.brief)
        return {name: getattr(scenario, name) * factor for name, factor in self.stretch.items()}


PR = Suite(name="pr", title="the six kinds of fault, briefly: for each change", scenarios=FAULTS, brief=True)
NIGHTLY = Suite(
    name="nightly",
    title="every scenario, combinations too, at full rate and for longer",
    scenarios=FAULTS,
    brief=False,
    others=True,
    stretch={"steady_s": 2, "fault_duration_s": 3, "recovery_s": 2},
)
SUITES = {suite.name: suite for suite in (PR, NIGHTLY)}


def get(name: str) -> Suite:
    """The suite of that name. Raises UsageError that lists the known ones."""
    if name not in SUITES:
        raise UsageError(f"suite {name!r} is unknown; known: {', '.join(SUITES)}")
    return SUITES[name]


def lines() -> Iterator[str]:
    """The suites, a line each."""
    for suite in SUITES.values():
        yield f"suite     {suite.name:24} {suite.title}"
