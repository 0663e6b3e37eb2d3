"""A zone is lost while the orders table takes only part of the writes: two faults that hide each other's repair."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

AZ_LOSS_THROTTLED = Scenario(
    name="az-loss-throttled",
    title="Losing a zone while the orders table is throttled",
    hypothesis=(
        "When one of two zones is lost while the orders table takes only part of the writes, what the other zone "
        "acknowledges is sequenced and filled exactly once, everybody gets an answer in the end, and steady state is "
        "back when the zone and the capacity are."
    ),
    template_output="AzLossThrottledTemplateId",
    actions=("aws:network:disrupt-connectivity", "aws:ecs:stop-task", "aws:ssm:start-automation-execution"),
    objectives=(
        *usual.STEADY,
        # A lost zone's time-outs, and refusals on top: as for the loss of a zone alone.
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=5_000),
        # As for the throttled table alone; for some ten seconds half of the rest goes to a zone that does not answer.
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.9),
        # As for the throttled table alone: more is a storm of retries upon it.
        Objective(metric=Metric.THROTTLED_CALLS_PER_ATTEMPT, phase="during", limit=3.0),
        # In the end everybody gets an answer: what was refused to the last is asked again when the load is over.
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=0.99),
        Objective(metric=Metric.RECONNECT_MS_MAX, phase="during", limit=10_000),
        # No limit for fills: they count from an order's first attempt, and most first attempts are refused.
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=18),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=0.99),
        *usual.HEALED,
    ),
    touches=("ecs", "alb", "links", "fis", "ssm", "dynamodb", "cloudwatch"),
    steady_s=15,
    fault_duration_s=24,
    recovery_s=30,
    # Less than elsewhere: one zone carries it all, and both backlogs are worked off while new tasks start.
    rate_per_s=36,
    clients=40,
    load=usual.LOAD,
    # Errors are what these faults cost; only when next to nothing is answered any more is it a disaster.
    stack={**usual.STACK, "ThrottledWriteUnits": "160", "GuardrailErrorRate": "0.95", "GuardrailP95Ms": "3000"},
    evidence={"Throttle": "store-throttled"},
    brief={"steady_s": 8, "fault_duration_s": 18, "recovery_s": 20, "rate_per_s": 32},
)
