"""The matcher of one zone stands still with messages in hand, then goes on as if nothing had been."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

MATCHER_FREEZE = Scenario(
    name="matcher-freeze",
    title="A matcher that stands still",
    hypothesis=(
        "When the matcher of one zone stands still and then goes on as if nothing had been, the other takes its "
        "markets over, what the sleeper still tries to commit is refused, and every acknowledged order is sequenced "
        "and filled exactly once."
    ),
    template_output="MatcherFreezeTemplateId",
    actions=("aws:ecs:task-kill-process", "aws:fis:wait"),
    objectives=(
        *usual.STEADY,
        # Nothing on a client's way to its acknowledgement passes through a matcher.
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=1_000),
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.02),
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=0.999),
        Objective(metric=Metric.RECONNECT_MS_MAX, phase="during", limit=10_000),
        # The queue locks a market for the sleeper as long as a received message stays invisible, 5 s; then the other
        # matcher has a few seconds of orders to catch up with.
        Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="during", limit=10_000),
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=10),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=0.999),
        *usual.HEALED,
    ),
    touches=("ecs", "fis", "fis-tasks", "sqs", "cloudwatch"),
    steady_s=15,
    fault_duration_s=20,
    recovery_s=20,
    rate_per_s=48,
    clients=40,
    load=usual.LOAD,
    stack={
        **usual.STACK,
        # AWS FIS waits a minute at least, and a sleeper that is replaced cannot be woken: its health check must be
        # patient for longer than that.
        "MatcherHealthRetries": "8",
        "GuardrailErrorRate": "0.2",
        "GuardrailP95Ms": "2000",
    },
    brief={"steady_s": 8, "fault_duration_s": 15, "recovery_s": 12, "rate_per_s": 25},
)
