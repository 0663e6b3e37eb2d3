"""Freeze the matcher of one zone while it holds messages, and resume it later."""

from kit.scenarios.defaults import READ_LIMITS, scenario
from kit.slo.objectives import Metric

MATCHER_FREEZE = scenario(
    name="matcher-freeze",
    title="A frozen matcher",
    hypothesis=(
        "When the matcher of one zone is frozen and later resumes as if nothing had happened, the other matcher takes "
        "over its markets, every commit that the resumed matcher still tries is refused, and every acknowledged order "
        "is sequenced and filled exactly once."
    ),
    template_output="MatcherFreezeTemplateId",
    actions=("aws:ecs:task-kill-process", "aws:fis:wait"),
    during={
        # No acknowledgement waits for a matcher.
        Metric.LATENCY_MS_P95: 1_000,
        Metric.ERROR_RATE: 0.02,
        Metric.AVAILABILITY: 0.999,
        Metric.RECONNECT_MS_MAX: 10_000,
        # The queue locks a market for the frozen matcher as long as a received message stays invisible, 5 s. The other
        # matcher then has a few seconds of orders to catch up with.
        Metric.TIME_TO_FIRST_FILL_MS_P95: 10_000,
        # Reads go to the store by a way of their own, which the fault does not touch.
        **READ_LIMITS,
    },
    recovery={Metric.RECOVERY_S: 10, Metric.AVAILABILITY: 0.999},
    touches=("ecs", "fis", "fis-tasks", "sqs", "cloudwatch"),
    fault_duration_s=20,
    recovery_s=20,
    guardrail_error_rate=0.2,
    guardrail_p95_ms=2_000,
    # AWS FIS waits for at least a minute, and a matcher that ECS has replaced cannot be resumed. So its health check
    # must fail for longer than that before ECS replaces it.
    stack={"MatcherHealthRetries": "8"},
    brief={"fault_duration_s": 15, "recovery_s": 12, "rate_per_s": 25},
)
