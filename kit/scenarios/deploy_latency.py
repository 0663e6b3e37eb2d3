"""The API is deployed while the network of one zone's tasks is slow."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

DEPLOY_LATENCY = Scenario(
    name="deploy-latency",
    title="A rolling deployment on a slow network",
    hypothesis=(
        "When every task of the API is replaced while the network of one zone's tasks is slow, orders take longer but "
        "none is lost, every acknowledged order is sequenced and filled exactly once, and steady state is "
        "back by itself."
    ),
    template_output="DeployLatencyTemplateId",
    actions=("aws:ecs:task-network-latency", "aws:ssm:start-automation-execution"),
    objectives=(
        *usual.STEADY,
        # FIS chose its targets when it began: until they are replaced, some ten seconds here and a minute on AWS, half
        # of the orders pay 300 ms for every leg to the store. Their matcher stays slow to the end.
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=1_500),
        # Slow is not lost: a task that leaves finishes what it has accepted, however long that takes.
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.01),
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=0.999),
        Objective(metric=Metric.RECONNECT_MS_MAX, phase="during", limit=10_000),
        # A slow matcher commits less in the time than comes in while it has a market.
        Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="during", limit=10_000),
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=10),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=0.999),
        *usual.HEALED,
    ),
    touches=("ecs", "alb", "links", "fis", "fis-tasks", "ssm", "cloudwatch"),
    steady_s=15,
    fault_duration_s=25,
    recovery_s=20,
    rate_per_s=48,
    clients=40,
    load=usual.LOAD,
    stack={**usual.STACK, "GuardrailErrorRate": "0.3", "GuardrailP95Ms": "3000"},
    evidence={"Deploy": "api-replaced"},
    brief={"steady_s": 8, "fault_duration_s": 22, "recovery_s": 14, "rate_per_s": 25},
)
