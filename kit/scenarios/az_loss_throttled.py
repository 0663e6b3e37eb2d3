"""Cut one zone off while the orders table is throttled: each fault hides the recovery of the other."""

from kit.scenarios.defaults import OTHER_ZONE_READ_LIMITS, TIMED_OUT_READ_LIMITS, scenario
from kit.slo.objectives import Metric

AZ_LOSS_THROTTLED = scenario(
    name="az-loss-throttled",
    title="Losing a zone while the orders table is throttled",
    hypothesis=(
        "When one of two zones is lost while the orders table accepts only part of the writes, every order that the "
        "other zone acknowledges is sequenced and filled exactly once, every client gets an answer in the end, and "
        "steady state returns when the zone and the capacity are back."
    ),
    template_output="AzLossThrottledTemplateId",
    actions=("aws:network:disrupt-connectivity", "aws:ecs:stop-task", "aws:ssm:start-automation-execution"),
    during={
        # Time-outs of the lost zone, and refusals as well: the same limit as for the loss of a zone alone.
        Metric.LATENCY_MS_P95: 5_000,
        # As for the throttled table alone. For about ten seconds half of the remaining attempts go to a zone that does
        # not answer.
        Metric.ERROR_RATE: 0.9,
        # As for the throttled table alone: more is a retry storm.
        Metric.THROTTLED_CALLS_PER_ATTEMPT: 3.0,
        # Every order gets an answer in the end: the drain asks again for those that were refused to the last.
        Metric.AVAILABILITY: 0.99,
        Metric.RECONNECT_MS_MAX: 10_000,
        # As for the loss of a zone alone: throttled writes are not in the way of reads.
        **OTHER_ZONE_READ_LIMITS,
        **TIMED_OUT_READ_LIMITS,
        # There is no limit for fills, because they count from an order's first attempt, and most of those are refused.
    },
    recovery={Metric.RECOVERY_S: 18, Metric.AVAILABILITY: 0.99},
    touches=("ecs", "alb", "links", "fis", "ssm", "dynamodb", "cloudwatch"),
    fault_duration_s=24,
    recovery_s=30,
    # A lower rate than elsewhere: one zone carries the whole load and works off both backlogs while new tasks start.
    rate_per_s=36,
    # Errors are the expected cost of these faults. The guardrails trip only when almost nothing is answered any more.
    guardrail_error_rate=0.95,
    guardrail_p95_ms=3_000,
    stack={"ThrottledWriteUnits": "160"},
    evidence={"Throttle": "store-throttled"},
    brief={"fault_duration_s": 18, "recovery_s": 20, "rate_per_s": 32},
)
