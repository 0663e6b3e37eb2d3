"""List the suites: which scenarios each one runs, and for how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kit import scenarios
from kit.errors import UsageError
from kit.scenarios import Scenario

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
    """A named list of scenarios.

    `brief`: run each scenario with its brief parameters; otherwise with its full ones, whose durations are multiplied
    by `duration_factors` where the scenario allows that. `includes_unlisted`: also run every scenario of the kit that
    `scenarios` does not name.
    """

    name: str
    title: str
    scenarios: tuple[str, ...]
    brief: bool
    includes_unlisted: bool = False
    duration_factors: Mapping[str, int] = field(default_factory=dict)

    def members(self) -> tuple[str, ...]:
        """Return the names of the suite's scenarios that the kit has."""
        known = scenarios.names()
        unlisted = sorted(set(known) - set(self.scenarios)) if self.includes_unlisted else []
        return tuple(name for name in (*self.scenarios, *unlisted) if name in known)

    def parameters(self, scenario: Scenario) -> dict[str, int]:
        """Return the suite's own parameters for a run of the scenario; the caller's parameters override them."""
        if self.brief:
            return dict(scenario.brief)
        factors = self.duration_factors if scenario.scalable else {}
        return {name: getattr(scenario, name) * factor for name, factor in factors.items()}


PR = Suite(name="pr", title="the six kinds of fault, briefly: for each change", scenarios=FAULTS, brief=True)
NIGHTLY = Suite(
    name="nightly",
    title="every scenario and every combination, at full rate and for longer",
    scenarios=FAULTS,
    brief=False,
    includes_unlisted=True,
    duration_factors={"steady_s": 2, "fault_duration_s": 3, "recovery_s": 2},
)
SUITES = {suite.name: suite for suite in (PR, NIGHTLY)}


def get(name: str) -> Suite:
    """Return the suite of that name. Raises UsageError that lists the known ones."""
    if name not in SUITES:
        raise UsageError(f"suite {name!r} is unknown; known: {', '.join(SUITES)}")
    return SUITES[name]


def lines() -> Iterator[str]:
    """Describe each suite in one line."""
    for suite in SUITES.values():
        yield f"suite     {suite.name:24} {suite.title}"
