"""A zone is lost: cut off, and all its tasks dead."""

from kit.objective import Metric, Objective
from kit.scenarios.model import Scenario

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
        Objective(metric=Metric.LATENCY_MS_P95, phase="before", limit=250),
        Objective(metric=Metric.ERROR_RATE, phase="before", limit=0.01),
        # Until two health checks have failed, part of all requests goes to a zone that does not answer: they time
        # out and are retried. That is some ten seconds of a fault that lasts twenty here and a minute or more on AWS.
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=5_000),
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.35),
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=0.99),
        Objective(metric=Metric.RECONNECT_MS_MAX, phase="during", limit=10_000),
        Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="during", limit=10_000),
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=15),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=0.99),
        Objective(metric=Metric.ERROR_RATE, phase="after", limit=0.01),
        Objective(metric=Metric.AVAILABILITY, phase="after", limit=1.0),
        Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="after", limit=5_000),
    ),
    touches=("ecs", "alb", "links", "fis", "cloudwatch"),
    steady_s=15,
    fault_duration_s=20,
    recovery_s=20,
    rate_per_s=48,
    clients=40,
    load={
        "retry_ratio": 0.2,
        "new_order_id_ratio": 0.1,
        "cancel_ratio": 0.1,
        "probe_ratio": 0.03,
        "get_ratio": 0.03,
        "subscribers_per_market": 1,
        "timeout_ms": 2_000,
    },
    stack={
        "Markets": "ACME,BOLT",
        "ApiTasks": "2",
        "MatcherTasks": "2",
        "RelayTasks": "2",
        "GuardrailErrorRate": "0.3",
        "GuardrailP95Ms": "3000",
    },
)
