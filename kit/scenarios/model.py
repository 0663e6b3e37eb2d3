"""The shape of a scenario. Values only: no AWS, no files, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.errors import UsageError
from kit.fis_rules.catalog import HARMLESS
from kit.slo.objectives import Metric, Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A hypothesis and how it is put to the test.

    `template_output` names the stack's output that holds the FIS template; `actions` the action ids that it must
    have, and `touches` the parts of AWS for which a report repeats the local AWS's differences. `load` holds the
    load plan's fields but for those that a run's parameters set; `stack` the stack's own parameters.

    `evidence` names the witness (vocabulary of kit/faults) of each action, by its name in the template, whose effect
    FIS cannot know itself. `fault_parts` of the template's actions follow each other, so that each lasts that part of
    the fault. `brief` holds the times and the rate of a run in the suite of pull requests.
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
    load: Mapping[str, Any] = field(default_factory=dict)
    stack: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, str] = field(default_factory=dict)
    fault_parts: int = 1
    brief: Mapping[str, int] = field(default_factory=dict)

    @property
    def breaks_nothing(self) -> bool:
        """True for a scenario whose experiment only waits or looks: it has no effect to prove."""
        return set(self.actions) <= HARMLESS

    @property
    def p95_limit_ms(self) -> float:
        """The steady state's latency limit."""
        return self.limit(Metric.LATENCY_MS_P95, "before")

    @property
    def error_rate_limit(self) -> float:
        """The steady state's limit of failed requests, 0 to 1."""
        return self.limit(Metric.ERROR_RATE, "before")

    @property
    def recovery_s_max(self) -> float:
        """How long after the fault steady state may take to come back."""
        return self.limit(Metric.RECOVERY_S, "recovery")

    def limit(self, metric: str, phase: str) -> float:
        """What the objective of that metric and phase allows. Raises KeyError if there is none."""
        found = [item.limit for item in self.objectives if (item.metric, item.phase) == (metric, phase)]
        if not found:
            raise KeyError(f"scenario {self.name} has no objective {metric} in phase {phase}")
        return found[0]

    def stack_parameters(self, *, fault_duration_s: int) -> dict[str, str]:
        """The stack's parameters for a run whose fault lasts this long, all its parts together.

        Raises UsageError for a fault that is shorter than a second a part.
        """
        part_s = fault_duration_s // self.fault_parts
        if part_s < 1:
            limit = f"{self.fault_parts} parts of at least 1 s each"
            raise UsageError(f"scenario {self.name}: fault_duration_s={fault_duration_s} is less than {limit}")
        return {**self.stack, "FaultDuration": f"PT{part_s}S"}
