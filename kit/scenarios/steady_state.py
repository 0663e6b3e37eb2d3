"""Nothing is broken: what the system does by itself, and what golden profiles and bad changes are measured on."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

STEADY_STATE = Scenario(
    name="steady-state",
    title="A day without a fault",
    hypothesis=(
        "While nothing is broken, orders are accepted quickly and without errors, every acknowledged order is "
        "sequenced and filled exactly once, and no client has to ask again."
    ),
    template_output="SteadyStateTemplateId",
    actions=("aws:fis:wait",),
    objectives=(
        *usual.STEADY,
        # What is steady before must stay so: the experiment only waits.
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=250),
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.01),
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=1.0),
        Objective(metric=Metric.RECONNECT_MS_MAX, phase="during", limit=1_000),
        Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="during", limit=2_000),
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=2),
        *usual.HEALED,
    ),
    touches=("ecs", "alb", "cloudwatch"),
    steady_s=15,
    fault_duration_s=20,
    recovery_s=10,
    rate_per_s=48,
    clients=40,
    load=usual.LOAD,
    stack={**usual.STACK, "GuardrailErrorRate": "0.3", "GuardrailP95Ms": "3000"},
    brief={"steady_s": 6, "fault_duration_s": 12, "recovery_s": 6, "rate_per_s": 40},
)
