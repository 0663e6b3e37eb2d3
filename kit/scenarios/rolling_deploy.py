"""Replace every task of the API under load by a deployment of the same build."""

from kit.scenarios.defaults import scenario
from kit.slo.objectives import Metric

ROLLING_DEPLOY = scenario(
    name="rolling-deploy",
    title="A rolling deployment under load",
    hypothesis=(
        "When every task of the API is replaced while orders arrive, no client notices: each order is acknowledged as "
        "fast as before, sequenced and filled exactly once, and streams resume where they were interrupted."
    ),
    template_output="RollingDeployTemplateId",
    actions=("aws:ssm:start-automation-execution",),
    during={
        # Twice the usual number of tasks start and serve on the same few CPUs of a laptop.
        Metric.LATENCY_MS_P95: 500,
        # A task that leaves finishes what it has accepted and gets no new request, so no request is lost.
        Metric.ERROR_RATE: 0.002,
        Metric.AVAILABILITY: 1.0,
        # A stream ends with its task.
        Metric.RECONNECT_MS_MAX: 5_000,
        Metric.TIME_TO_FIRST_FILL_MS_P95: 2_000,
        # A new task reads the whole ledger of a market at its first read of its book.
        Metric.ORDER_READ_MS_P95: 500,
        Metric.MARKET_READ_MS_P95: 1_000,
    },
    recovery={Metric.RECOVERY_S: 5, Metric.AVAILABILITY: 1.0},
    touches=("ecs", "alb", "fis", "ssm", "cloudwatch"),
    # The automation waits for the end of the deployment, however long that takes, and at least for this time.
    fault_duration_s=25,
    recovery_s=10,
    # Clients must not notice the fault at all, so an error rate of a tenth for half a minute stops the experiment.
    guardrail_error_rate=0.1,
    guardrail_p95_ms=2_000,
    evidence={"Deploy": "api-replaced"},
    brief={"fault_duration_s": 22, "recovery_s": 8, "rate_per_s": 32},
)
