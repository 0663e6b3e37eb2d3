"""The API of one zone is told to end, and the load balancer is not."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

API_TERMINATION = Scenario(
    name="api-termination",
    title="An API that is told to end",
    hypothesis=(
        "When the API's process in one zone gets a SIGTERM that the load balancer knows nothing of, it goes on serving "
        "until the load balancer has found out, finishes what it has accepted and leaves; no request is lost, and "
        "each order is sequenced and filled exactly once."
    ),
    template_output="ApiTerminationTemplateId",
    actions=("aws:ecs:task-kill-process", "aws:fis:wait"),
    objectives=(
        *usual.STEADY,
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=500),
        # One that leaves at once costs what was in flight and what the load balancer sends for about a second more:
        # 14 of 1,146 attempts in 22 s.
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.003),
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=1.0),
        # A stream ends with its task.
        Objective(metric=Metric.RECONNECT_MS_MAX, phase="during", limit=5_000),
        Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="during", limit=2_000),
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=5),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=1.0),
        *usual.HEALED,
    ),
    touches=("ecs", "alb", "fis", "fis-tasks", "cloudwatch"),
    steady_s=15,
    # Two failed health checks, 5 s apart, until the load balancer knows; then the task ends and another one starts.
    fault_duration_s=30,
    recovery_s=10,
    rate_per_s=48,
    clients=40,
    load=usual.LOAD,
    # Clients must not notice at all, so a tenth of errors for half a minute is reason enough to stop.
    stack={**usual.STACK, "GuardrailErrorRate": "0.1", "GuardrailP95Ms": "2000"},
    brief={"steady_s": 8, "fault_duration_s": 22, "recovery_s": 8, "rate_per_s": 40},
)
