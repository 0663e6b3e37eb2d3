"""Break nothing, to show the system's own behaviour. Golden profiles and bad changes are measured on this scenario."""

from kit.scenarios.defaults import OPERATION_LIMITS, READ_LIMITS, scenario
from kit.slo.objectives import Metric

STEADY_STATE = scenario(
    name="steady-state",
    title="A day without a fault",
    hypothesis=(
        "While nothing is broken, orders are accepted quickly and without errors, every acknowledged order is "
        "sequenced and filled exactly once, and no client has to ask again."
    ),
    template_output="SteadyStateTemplateId",
    actions=("aws:fis:wait",),
    during={
        # The experiment only waits, so the limits of steady state stay in force.
        Metric.LATENCY_MS_P95: 250,
        Metric.ERROR_RATE: 0.01,
        **OPERATION_LIMITS,
        **READ_LIMITS,
        Metric.AVAILABILITY: 1.0,
        Metric.RECONNECT_MS_MAX: 1_000,
        Metric.TIME_TO_FIRST_FILL_MS_P95: 2_000,
    },
    recovery={Metric.RECOVERY_S: 2},
    touches=("ecs", "alb", "cloudwatch"),
    fault_duration_s=20,
    recovery_s=10,
    guardrail_error_rate=0.3,
    guardrail_p95_ms=3_000,
    brief={"steady_s": 6, "fault_duration_s": 12, "recovery_s": 6, "rate_per_s": 40},
)
