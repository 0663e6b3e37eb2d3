"""Find the objectives that explicit denials alone break: CPU contention cannot explain them (see the noise rule).

A denial is an answer such as 400, 404 or 500. Time-outs, lost connections and answers of an overloaded server are not,
but before anything is broken a task that sheds load must be overloaded: a refusal of its own among answers that were
all quick is a denial too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kit.model import NS_PER_MS, NS_PER_S, Phase
from kit.slo.objectives import Metric, Objective
from kit.slo.samples import Column, Table, defect, is_denial, is_error, operations, within

STEADY_PHASE = "before"
# What a task answers if it has too much to do.
SHED = (429, 503)
# A task sheds load while its queue is full or its breaker is open. Both follow calls of about a second, and the breaker
# forgets them after about five. Then a few requests at least took this long or got no answer.
SLOW_MS, SLOW_MIN = 500.0, 3
LOOK_BACK_S, LOOK_AHEAD_S = 6.0, 1.0


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
    denied = is_denial(rows)
    if phase.name == STEADY_PHASE:
        denied |= _shed_without_load(rows, attempts)
    return float((is_error(rows) & denied).mean()) if len(rows) else 0.0


def _shed_without_load(rows: Table, attempts: Table) -> Column:
    """Find the refusals for overload by a task, in its JSON, while hardly any of all attempts was slow."""
    sent_ns, done_ns = attempts["invoked_ns"].to_numpy(), _done_ns(attempts)
    slow = ((done_ns - sent_ns) / NS_PER_MS >= SLOW_MS) | (attempts["status"] == 0).to_numpy()
    refused_ns = _done_ns(rows)
    begun = np.searchsorted(np.sort(sent_ns[slow]), refused_ns + int(LOOK_AHEAD_S * NS_PER_S), "right")
    over = np.searchsorted(np.sort(done_ns[slow]), refused_ns - int(LOOK_BACK_S * NS_PER_S), "left")
    return rows["status"].isin(SHED) & rows["reply"].str.startswith("{") & (begun - over < SLOW_MIN)


def _done_ns(attempts: Table) -> Column:
    return np.maximum(attempts["completed_ns"], attempts["late_ns"]).to_numpy()


def _orders(attempts: Table, phase: Phase) -> float:
    rows = within(operations(attempts), "intended_ns", phase)
    return float((rows["denied"] & ~rows["ok"]).mean()) if len(rows) else 0.0


# The share of denials in everything that the metric counts.
DENIED: Mapping[Metric, Callable[[Table, Phase], float]] = {
    Metric.ERROR_RATE: _attempts,
    Metric.AVAILABILITY: _orders,
}
