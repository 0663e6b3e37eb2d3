"""Let the tasks look up the names of AWS endpoints slowly, and in part in vain."""

from kit.scenarios.defaults import OTHER_ZONE_READ_LIMITS, TIMED_OUT_READ_LIMITS, scenario
from kit.slo.objectives import Metric

SLOW_NAMES = scenario(
    name="slow-names",
    title="Slow and failing name lookups",
    hypothesis=(
        "When tasks resolve the names of store and queue slowly or not at all, calls over open connections go on, "
        "those that need a new one are tried again or refused in time, and every acknowledged order is sequenced and "
        "filled exactly once. Steady state returns with the names."
    ),
    template_output="SlowNamesTemplateId",
    actions=("aws:ssm:start-automation-execution",),
    during={
        # A lookup takes 0.5 s and one of four fails. A call that needs one is tried a second time, and then refused.
        Metric.LATENCY_MS_P95: 3_000,
        Metric.ERROR_RATE: 0.35,
        Metric.AVAILABILITY: 0.99,
        Metric.RECONNECT_MS_MAX: 10_000,
        # A message whose matcher loses its connection is received again after its visibility timeout of 5 s.
        Metric.TIME_TO_FIRST_FILL_MS_P95: 12_000,
        # Half of the reads find an open connection.
        **OTHER_ZONE_READ_LIMITS,
        **TIMED_OUT_READ_LIMITS,
    },
    recovery={Metric.RECOVERY_S: 10, Metric.AVAILABILITY: 0.99},
    touches=("ecs", "links", "fis", "ssm", "dynamodb", "sqs", "cloudwatch"),
    fault_duration_s=20,
    recovery_s=20,
    guardrail_error_rate=0.5,
    guardrail_p95_ms=4_000,
    evidence={"SlowNames": "store-errors"},
    brief={"fault_duration_s": 15, "recovery_s": 14, "rate_per_s": 32},
)
