"""The shape of a scenario. Values only: no AWS, no files, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PHASES = frozenset({"before", "during", "after"})
# The SLO stage's metrics that a scenario may set limits for; `recovery_s` has a field of its own.
INDICATORS = frozenset(
    {
        "latency_ms_p50", "latency_ms_p95", "latency_ms_p99",
        "operation_ms_p50", "operation_ms_p95", "operation_ms_p99",
        "error_rate", "availability", "time_to_first_fill_ms_p95", "reconnect_ms_max",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """In this phase the indicator keeps to the limit (availability: at least). Shares are 0 to 1, times in ms."""

    indicator: str
    phase: str
    limit: float

    def __post_init__(self) -> None:
        assert self.phase in PHASES, f"phase {self.phase!r} is not one of {sorted(PHASES)}"
        assert self.indicator in INDICATORS, f"indicator {self.indicator!r} is not one of {sorted(INDICATORS)}"
        assert self.limit >= 0, f"limit {self.limit} of {self.indicator} is below 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A hypothesis and how it is put to the test.

    `template_output` names the stack's output that holds the FIS template; `actions` the action ids that it must
    have, and `touches` the parts of AWS for which a report repeats the local AWS's differences. `load` holds the
    load plan's fields but for those that a run's parameters set; `stack` the stack's own parameters.
    """

    name: str
    title: str
    hypothesis: str
    template_output: str
    actions: tuple[str, ...]
    objectives: tuple[Objective, ...]
    recovery_s_max: float
    touches: tuple[str, ...]
    steady_s: int
    fault_duration_s: int
    recovery_s: int
    rate_per_s: int
    clients: int
    load: Mapping[str, Any] = field(default_factory=dict)
    stack: Mapping[str, str] = field(default_factory=dict)

    @property
    def p95_limit_ms(self) -> float:
        """The steady state's latency limit."""
        return self.limit("latency_ms_p95", "before")

    @property
    def error_rate_limit(self) -> float:
        """The steady state's limit of failed requests, 0 to 1."""
        return self.limit("error_rate", "before")

    def limit(self, indicator: str, phase: str) -> float:
        """What the objective of that indicator and phase allows. Raises KeyError if there is none."""
        found = [item.limit for item in self.objectives if (item.indicator, item.phase) == (indicator, phase)]
        if not found:
            raise KeyError(f"scenario {self.name} has no objective {indicator} in phase {phase}")
        return found[0]

    def stack_parameters(self, *, fault_duration_s: int) -> dict[str, str]:
        """The stack's parameters for a run whose fault lasts this long."""
        return {**self.stack, "FaultDuration": f"PT{fault_duration_s}S"}
