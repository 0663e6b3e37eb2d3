"""Define what a scenario is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.errors import UsageError
from kit.fis_rules.catalog import HARMLESS
from kit.slo.objectives import Metric, Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A hypothesis and the experiment that tests it.

    `template_output` names the output of the stack that holds the FIS template, and `actions` the action ids that the
    template must have. `touches` names the local AWS services whose differences from AWS the report repeats. `load`
    holds fields of the load plan that are not parameters of a run, `stack` parameters of the stack.

    FIS cannot tell whether some actions had an effect. `evidence` maps such an action, by its name in the template, to
    an evidence source of `kit.faults`. `fault_parts` is the number of actions that follow one another and share the
    duration of the fault. `scalable` is false if a suite must not multiply the durations. `past_orders` is how many
    orders the ledger has before the load. `brief` holds the durations, the rate and the past of a run in the suite of
    pull requests.
    """

    name: str
    title: str
    hypothesis: str
    template_output: str
    actions: tuple[str, ...]
    objectives: tuple[Objective, ...]
    touches: tuple[str, ...]
    steady_s: int
    fault_duration_s: int
    recovery_s: int
    rate_per_s: int
    clients: int
    past_orders: int
    load: Mapping[str, Any] = field(default_factory=dict)
    stack: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, str] = field(default_factory=dict)
    fault_parts: int = 1
    scalable: bool = True
    brief: Mapping[str, int] = field(default_factory=dict)

    @property
    def breaks_nothing(self) -> bool:
        """Whether the experiment only waits or observes, so that there is no effect to prove."""
        return set(self.actions) <= HARMLESS

    @property
    def p95_limit_ms(self) -> float:
        """The limit of the latency in steady state."""
        return self.limit(Metric.LATENCY_MS_P95, "before")

    @property
    def error_rate_limit(self) -> float:
        """The limit of the error rate in steady state, 0 to 1."""
        return self.limit(Metric.ERROR_RATE, "before")

    @property
    def recovery_s_max(self) -> float:
        """The limit of the time from the end of the fault to steady state."""
        return self.limit(Metric.RECOVERY_S, "recovery")

    def limit(self, metric: str, phase: str) -> float:
        """Return the limit of the objective of that metric and phase. Raises KeyError if there is none."""
        found = [item.limit for item in self.objectives if (item.metric, item.phase) == (metric, phase)]
        if not found:
            raise KeyError(f"scenario {self.name} has no objective {metric} in phase {phase}")
        return found[0]

    def stack_parameters(self, *, fault_duration_s: int) -> dict[str, str]:
        """Return the stack's parameters for a fault of this duration, all its parts together.

        Raises UsageError if a part would be shorter than a second.
        """
        part_s = fault_duration_s // self.fault_parts
        if part_s < 1:
            limit = f"{self.fault_parts} parts of at least 1 s each"
            raise UsageError(f"scenario {self.name}: fault_duration_s={fault_duration_s} is less than {limit}")
        return {**self.stack, "FaultDuration": f"PT{part_s}S"}
