"""Send SIGTERM to the API of one zone without the load balancer's knowledge."""

from kit.scenarios.defaults import scenario
from kit.slo.objectives import Metric

API_TERMINATION = scenario(
    name="api-termination",
    title="Termination of the API in one zone",
    hypothesis=(
        "When the API's process in one zone gets a SIGTERM that the load balancer does not know of, it keeps serving "
        "until the load balancer has marked it unhealthy, finishes what it has accepted and then exits. No request is "
        "lost, and each order is sequenced and filled exactly once."
    ),
    template_output="ApiTerminationTemplateId",
    actions=("aws:ecs:task-kill-process", "aws:fis:wait"),
    during={
        Metric.LATENCY_MS_P95: 500,
        # A process that exits at once loses the requests in flight and those that the load balancer sends for about
        # another second: 14 of 1,146 attempts in 22 s.
        Metric.ERROR_RATE: 0.003,
        Metric.AVAILABILITY: 1.0,
        # A stream ends with its task.
        Metric.RECONNECT_MS_MAX: 5_000,
        Metric.TIME_TO_FIRST_FILL_MS_P95: 2_000,
        # A new task reads the whole ledger of a market at its first read of its book.
        Metric.ORDER_READ_MS_P95: 500,
        Metric.MARKET_READ_MS_P95: 1_000,
    },
    recovery={Metric.RECOVERY_S: 5, Metric.AVAILABILITY: 1.0},
    touches=("ecs", "alb", "fis", "fis-tasks", "cloudwatch"),
    # The load balancer needs two failed health checks, 5 s apart. Then the task ends and another one starts.
    fault_duration_s=30,
    recovery_s=10,
    # Clients must not notice the fault at all, so an error rate of a tenth for half a minute stops the experiment.
    guardrail_error_rate=0.1,
    guardrail_p95_ms=2_000,
    brief={"fault_duration_s": 22, "recovery_s": 8, "rate_per_s": 40},
)
