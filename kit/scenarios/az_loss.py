"""A zone is lost: cut off, and all its tasks dead."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

AZ_LOSS = Scenario(
    name="az-loss",
    title="Losing an availability zone",
    hypothesis=(
        "When one of two zones is cut off and all its tasks die, orders keep being accepted through the other, every "
        "acknowledged order is sequenced and filled exactly once, and steady state is back by itself."
    ),
    template_output="AzLossTemplateId",
    actions=("aws:network:disrupt-connectivity", "aws:ecs:stop-task"),
    objectives=(
        *usual.STEADY,
        # Until two health checks have failed, part of all requests goes to a zone that does not answer: they time
        # out and are retried. That is some ten seconds of a fault that lasts twenty here and a minute or more on AWS.
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=5_000),
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.35),
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=0.99),
        Objective(metric=Metric.RECONNECT_MS_MAX, phase="during", limit=10_000),
        Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="during", limit=10_000),
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=15),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=0.99),
        *usual.HEALED,
    ),
    touches=("ecs", "alb", "links", "fis", "cloudwatch"),
    steady_s=15,
    fault_duration_s=20,
    recovery_s=20,
    rate_per_s=48,
    clients=40,
    load=usual.LOAD,
    stack={**usual.STACK, "GuardrailErrorRate": "0.3", "GuardrailP95Ms": "3000"},
    brief={"steady_s": 8, "fault_duration_s": 14, "recovery_s": 18, "rate_per_s": 40},
)
