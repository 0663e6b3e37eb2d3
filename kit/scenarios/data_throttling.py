"""Limit the write capacity of the orders table."""

from kit.scenarios.defaults import READ_LIMITS, scenario
from kit.slo.objectives import Metric

DATA_THROTTLING = scenario(
    name="data-throttling",
    title="Throttled writes to the orders table",
    hypothesis=(
        "When the orders table accepts only part of the writes, clients are refused at once instead of waiting. Every "
        "acknowledged order is sequenced and filled exactly once, and steady state returns with the capacity."
    ),
    template_output="DataThrottlingTemplateId",
    actions=("aws:ssm:start-automation-execution",),
    during={
        # A throttled write is tried again after at most a few hundred ms and then refused. A 503 with Retry-After is an
        # answer within the clients' time-out of 2 s; a hanging request is not.
        Metric.LATENCY_MS_P95: 2_500,
        # An order costs four write units and its fills cost more, so the cap leaves about half of the requested
        # capacity. Refused attempts are repeated up to three times and refused again.
        Metric.ERROR_RATE: 0.9,
        # The API tries three times and then answers 503. More throttled calls for each attempt are a retry storm
        # against a table without capacity, even if clients do not feel it yet.
        Metric.THROTTLED_CALLS_PER_ATTEMPT: 3.0,
        # Every order gets an answer in the end: the drain asks again for those that were refused to the last.
        Metric.AVAILABILITY: 0.99,
        # There is no limit for fills, because they count from an order's first attempt, and most of those are refused.
        # Fills are also writes to the same table, so they wait for its capacity.
        # Reads go to the store by a way of their own, which the fault does not touch.
        **READ_LIMITS,
    },
    recovery={Metric.RECOVERY_S: 15, Metric.AVAILABILITY: 0.99},
    touches=("ecs", "fis", "ssm", "dynamodb", "cloudwatch"),
    fault_duration_s=20,
    recovery_s=20,
    # Errors are the expected cost of this fault. The guardrails trip only when almost nothing is answered any more.
    guardrail_error_rate=0.95,
    guardrail_p95_ms=3_000,
    stack={"ThrottledWriteUnits": "160"},
    evidence={"Throttle": "store-throttled"},
    brief={"fault_duration_s": 15, "recovery_s": 16, "rate_per_s": 32},
)
