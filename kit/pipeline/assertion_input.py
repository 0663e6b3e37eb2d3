"""Make the assertion Lambda's input from a scenario's values, so that the state machine holds no limit of its own."""

from __future__ import annotations

import math
from typing import Any

from kit.model import Deployment
from kit.pipeline.assertion import metric_limits
from kit.pipeline.assertion.ledger_window import MINUTES_MAX
from kit.scenarios import Scenario
from kit.slo.objectives import Metric

# The clients' mix makes about one match for each order that trades; an exchange that accepts orders and matches a tenth
# of them is not steady.
MATCHES_PER_ORDER_MIN = 0.1
STEADY_STATE, SLOS = "steady-state", "slos"
# The phase whose objectives each assertion holds.
PHASES = {STEADY_STATE: "before", SLOS: "after"}
# Metric of the function → metric of an objective.
OBJECTIVES = {
    metric_limits.LATENCY_MS_P95: Metric.LATENCY_MS_P95,
    metric_limits.LATENCY_MS_P99: Metric.LATENCY_MS_P99,
    metric_limits.ERROR_RATE: Metric.ERROR_RATE,
}
WINDOW = "window"  # the one part that the state machine adds: {"start", "end"} in epoch seconds


def limits(scenario: Scenario, *, assertion: str, rate_per_s: float) -> dict[str, float | None]:
    """Return the limit of each metric; None where the scenario promises nothing."""
    phase = PHASES[assertion]
    promised = {one.metric: one.limit for one in scenario.objectives if one.phase == phase}
    found: dict[str, float | None] = {name: promised.get(metric) for name, metric in OBJECTIVES.items()}
    return {**found, metric_limits.MATCHES_PER_S: MATCHES_PER_ORDER_MIN * rate_per_s}


def assertion_input(
    scenario: Scenario, deployment: Deployment, *, assertion: str, rate_per_s: float, run_s: float
) -> dict[str, Any]:
    """Return the input of one assertion without its window. `run_s` is how long the run takes at most.

    The ledger is scanned from the run's beginning, as far as the function reads back.
    """
    outputs = deployment.outputs
    return {
        "assertion": assertion,
        "env": outputs["MetricsEnv"],
        "limits": limits(scenario, assertion=assertion, rate_per_s=rate_per_s),
        "ledger": {
            "table": outputs["LedgerTable"],
            "markets": outputs["Markets"].split(","),
            "minutes": min(MINUTES_MAX, math.ceil(run_s / 60)),
        },
    }
