"""Slow the matchers' way to the store down while the orders table is throttled: batches run out of time halfway."""

from kit.scenarios.defaults import READ_LIMITS, scenario
from kit.slo.objectives import Metric

SLOW_COMMITS = scenario(
    name="slow-commits",
    title="Slow and throttled commits",
    hypothesis=(
        "When every commit of a matcher takes a third of a second and some are throttled, a batch runs out of time "
        "before all of its events are committed. What was not committed is delivered again, every acknowledged order "
        "is sequenced and filled exactly once, and steady state returns with the store."
    ),
    template_output="SlowCommitsTemplateId",
    actions=("aws:ecs:task-network-latency", "aws:ssm:start-automation-execution"),
    during={
        # The limit of the throttled table alone: no request of a client waits for a matcher.
        Metric.LATENCY_MS_P95: 2_500,
        # Less capacity is left than in `data-throttling`, and every refused attempt is repeated and refused again.
        Metric.ERROR_RATE: 0.97,
        Metric.THROTTLED_CALLS_PER_ATTEMPT: 3.0,
        Metric.AVAILABILITY: 0.99,
        # Reads go to the store by a way of their own, and not through the matchers.
        **READ_LIMITS,
        # There is no limit for fills, because the matchers fall behind for as long as the fault lasts.
    },
    recovery={Metric.RECOVERY_S: 15, Metric.AVAILABILITY: 0.99},
    touches=("ecs", "links", "fis", "fis-tasks", "ssm", "dynamodb", "cloudwatch"),
    fault_duration_s=20,
    recovery_s=24,
    # Errors are the expected cost of this fault. The guardrails trip only when almost nothing is answered any more.
    guardrail_error_rate=0.99,
    guardrail_p95_ms=3_000,
    # One market and one matcher, so that a received batch belongs together and the matcher makes enough calls to show
    # the latency. So little capacity that its commits are throttled too: each refusal halves what is committed at once,
    # and a batch of ten takes more slow transactions than its messages stay invisible.
    stack={"ThrottledWriteUnits": "80", "Markets": "ACME", "MatcherTasks": "1"},
    evidence={"Throttle": "store-throttled"},
    brief={"fault_duration_s": 20, "recovery_s": 20, "rate_per_s": 32},
)
