"""Find the objectives that explicit denials alone break: CPU contention cannot explain them (see the noise rule).

A denial is an answer such as 400, 404 or 500. Time-outs, lost connections and answers of an overloaded server are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kit.model import Phase
from kit.slo.objectives import Metric, Objective
from kit.slo.samples import Table, defect, is_denial, is_error, operations, within


def broken_by_denials(
    attempts: Table, phases: Sequence[Phase], objectives: Sequence[Objective]
) -> frozenset[tuple[str, str]]:
    """Return check and phase of each objective that would be broken even if every other failure had been a success."""
    if defect("attempts", attempts):
        return frozenset()
    spans = {phase.name: phase for phase in phases}
    checked = [objective for objective in objectives if Metric(objective.metric) in DENIED and objective.phase in spans]
    return frozenset(
        (Metric(objective.metric).check, objective.phase)
        for objective in checked
        if not _met(objective, attempts, spans[objective.phase])
    )


def _met(objective: Objective, attempts: Table, phase: Phase) -> bool:
    metric = Metric(objective.metric)
    denied = DENIED[metric](attempts, phase)
    return objective.met(1 - denied if metric.is_minimum else denied)


def _attempts(attempts: Table, phase: Phase) -> float:
    rows = within(attempts, "intended_ns", phase)
    return float((is_error(rows) & is_denial(rows)).mean()) if len(rows) else 0.0


def _orders(attempts: Table, phase: Phase) -> float:
    rows = within(operations(attempts), "intended_ns", phase)
    return float((rows["denied"] & ~rows["ok"]).mean()) if len(rows) else 0.0


# The share of denials in everything that the metric counts.
DENIED: Mapping[Metric, Callable[[Table, Phase], float]] = {
    Metric.ERROR_RATE: _attempts,
    Metric.AVAILABILITY: _orders,
}
