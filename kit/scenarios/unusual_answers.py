"""Give calls to DynamoDB and SQS the answers that AWS gives now and then."""

from kit.scenarios.defaults import scenario
from kit.slo.objectives import Metric

UNUSUAL_ANSWERS = scenario(
    name="unusual-answers",
    title="AWS's less usual answers",
    hypothesis=(
        "When calls to the store and the queue fail, are throttled, conflict, lose their answers or are done only "
        "in part, clients ask again and every order is still applied exactly once. Steady state returns at once."
    ),
    template_output="UnusualAnswersTemplateId",
    actions=("aws:ssm:start-automation-execution",),
    during={
        # A call that failed is made again after a short wait, several times if need be.
        Metric.LATENCY_MS_P95: 2_500,
        Metric.ERROR_RATE: 0.35,
        Metric.AVAILABILITY: 0.999,
        # A message that is not deleted is received again after its visibility timeout of 5 s.
        Metric.TIME_TO_FIRST_FILL_MS_P95: 12_000,
        # A read that fails is made again once, after a short wait.
        Metric.ORDER_READ_MS_P95: 1_000,
        Metric.MARKET_READ_MS_P95: 1_500,
    },
    recovery={Metric.RECOVERY_S: 10},
    touches=("ecs", "fis", "ssm", "dynamodb", "sqs", "cloudwatch"),
    fault_duration_s=20,
    recovery_s=20,
    guardrail_error_rate=0.5,
    guardrail_p95_ms=4_000,
    evidence={"Unusual": "store-errors"},
    brief={"fault_duration_s": 15, "recovery_s": 14, "rate_per_s": 32},
)
