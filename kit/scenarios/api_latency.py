"""Slow down every call of the API to its store by 1.5 s."""

from kit.scenarios.defaults import READ_LIMITS, scenario
from kit.slo.objectives import Metric

API_LATENCY = scenario(
    name="api-latency",
    title="A slow store behind the API",
    hypothesis=(
        "When every call of the API to its store takes 1.5 s longer, the API refuses at once what it cannot do in "
        "time, instead of queueing it. Every acknowledged order is sequenced and filled exactly once, and steady "
        "state returns as soon as the store is fast again."
    ),
    template_output="ApiLatencyTemplateId",
    actions=("aws:ssm:start-automation-execution",),
    during={
        # An order is one call to the store: 1.5 s and the wait for a thread, or a time-out of 2 s. Builds that queue
        # instead of refusing answer after about 4 s.
        Metric.LATENCY_MS_P95: 3_000,
        # The circuit breaker counts a call of more than one second as failed. It then lets only a few calls through and
        # refuses the others. A refused attempt is repeated up to three times.
        Metric.ERROR_RATE: 0.9,
        # Every order gets an answer in the end: the drain asks again for those that were refused to the last.
        Metric.AVAILABILITY: 0.99,
        # There is no limit for fills, because they count from an order's first attempt, and most of those are refused.
        # Reads go to the store by a way of their own, which the fault does not touch.
        **READ_LIMITS,
    },
    recovery={
        # The tasks read the flag's new value at their next poll.
        Metric.RECOVERY_S: 12,
        Metric.AVAILABILITY: 0.95,
    },
    touches=("ecs", "alb", "fis", "ssm", "appconfig", "cloudwatch"),
    fault_duration_s=20,
    recovery_s=20,
    # This fault makes everything slow. The guardrails trip only when not even refusals come back in time.
    guardrail_error_rate=0.95,
    guardrail_p95_ms=6_000,
    stack={"FlagPollSeconds": "2"},
    evidence={"SlowStore": "store-latency"},
    brief={"fault_duration_s": 15, "recovery_s": 14, "rate_per_s": 30},
)
