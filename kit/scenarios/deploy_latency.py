"""Deploy the API while the network of one zone's tasks is slow."""

from kit.scenarios.defaults import scenario
from kit.slo.objectives import Metric

DEPLOY_LATENCY = scenario(
    name="deploy-latency",
    title="A rolling deployment on a slow network",
    hypothesis=(
        "When every task of the API is replaced while the network of one zone's tasks is slow, orders take longer but "
        "none is lost, every acknowledged order is sequenced and filled exactly once, and steady state returns without "
        "intervention."
    ),
    template_output="DeployLatencyTemplateId",
    actions=("aws:ecs:task-network-latency", "aws:ssm:start-automation-execution"),
    during={
        # FIS resolved its targets at the start. Until these tasks are replaced, about ten seconds here and a minute on
        # AWS, half of the orders wait 300 ms for every message to or from the store. The matcher stays slow to the end.
        Metric.LATENCY_MS_P95: 1_500,
        # A task that leaves finishes what it has accepted, however long that takes. No request fails.
        Metric.ERROR_RATE: 0.01,
        Metric.AVAILABILITY: 0.999,
        Metric.RECONNECT_MS_MAX: 10_000,
        # A slow matcher commits fewer orders than arrive while it holds a market.
        Metric.TIME_TO_FIRST_FILL_MS_P95: 10_000,
        # As orders: one call to the store, or for a market several.
        Metric.ORDER_READ_MS_P95: 1_500,
        Metric.MARKET_READ_MS_P95: 3_000,
    },
    recovery={Metric.RECOVERY_S: 10, Metric.AVAILABILITY: 0.999},
    touches=("ecs", "alb", "links", "fis", "fis-tasks", "ssm", "cloudwatch"),
    fault_duration_s=25,
    recovery_s=20,
    guardrail_error_rate=0.3,
    guardrail_p95_ms=3_000,
    evidence={"Deploy": "api-replaced"},
    brief={"fault_duration_s": 22, "recovery_s": 14, "rate_per_s": 25},
)
