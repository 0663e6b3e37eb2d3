"""Every call of the API to its store takes a second and a half longer."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

API_LATENCY = Scenario(
    name="api-latency",
    title="A slow store behind the API",
    hypothesis=(
        "When every call of the API to its store takes 1.5 s longer, what it cannot do in time is refused at once "
        "instead of piling up, what was acknowledged is sequenced and filled exactly once, and steady state is back as "
        "soon as the store is fast again."
    ),
    template_output="ApiLatencyTemplateId",
    actions=("aws:ssm:start-automation-execution",),
    objectives=(
        *usual.STEADY,
        # An order is one call to the store: 1.5 s and what it waited for a thread, or a time-out of 2 s. Builds that
        # queue instead of refusing answer after some 4 s.
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=3_000),
        # A call that takes longer than a second is a bad one for the breaker, which then lets a few through in a while
        # and refuses the others; a refused attempt is repeated up to three times.
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.9),
        # In the end everybody gets an answer: what was refused to the last is asked again when the load is over.
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=0.99),
        # No limit for fills: they count from an order's first attempt, and most first attempts are refused.
        # The tasks learn of the flag's end at their next poll.
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=12),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=0.95),
        *usual.HEALED,
    ),
    touches=("ecs", "alb", "fis", "ssm", "appconfig", "cloudwatch"),
    steady_s=15,
    fault_duration_s=20,
    recovery_s=20,
    rate_per_s=48,
    clients=40,
    load=usual.LOAD,
    # Slow is what this fault is: the guardrail stands where not even refusals come back in time.
    stack={**usual.STACK, "FlagPollSeconds": "2", "GuardrailErrorRate": "0.95", "GuardrailP95Ms": "6000"},
    evidence={"SlowStore": "store-latency"},
    brief={"steady_s": 8, "fault_duration_s": 15, "recovery_s": 14, "rate_per_s": 30},
)
