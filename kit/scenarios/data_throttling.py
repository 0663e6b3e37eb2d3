"""The orders table takes only part of the writes."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

DATA_THROTTLING = Scenario(
    name="data-throttling",
    title="Throttled writes to the orders table",
    hypothesis=(
        "When the orders table takes only part of the writes, clients are told so at once instead of waiting, what was "
        "acknowledged is sequenced and filled exactly once, and steady state is back when the capacity is."
    ),
    template_output="DataThrottlingTemplateId",
    actions=("aws:ssm:start-automation-execution",),
    objectives=(
        *usual.STEADY,
        # A throttled write is tried a second time after at most a few hundred ms and then refused: a 503 with
        # Retry-After is an answer within the client's patience of 2 s, a hanging request is not.
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=2_500),
        # An order costs four write units and its fills more, so the cap leaves about half of what is asked for;
        # refused attempts are repeated up to three times, and refused again.
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.9),
        # Three tries, then a 503: more throttled calls than that for each attempt are a storm of retries upon a table
        # that has no capacity, whether or not clients feel it yet.
        Objective(metric=Metric.THROTTLED_CALLS_PER_ATTEMPT, phase="during", limit=3.0),
        # In the end everybody gets an answer: what was refused to the last is asked again when the load is over.
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=0.99),
        # No limit for fills: they count from an order's first attempt, and most first attempts are refused; and they
        # are writes to the same table, so that they wait for capacity as long as it is short.
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=15),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=0.99),
        *usual.HEALED,
    ),
    touches=("ecs", "fis", "ssm", "dynamodb", "cloudwatch"),
    steady_s=15,
    fault_duration_s=20,
    recovery_s=20,
    rate_per_s=48,
    clients=40,
    load=usual.LOAD,
    # Errors are what this fault costs; only when next to nothing is answered any more is it a disaster.
    stack={**usual.STACK, "ThrottledWriteUnits": "160", "GuardrailErrorRate": "0.95", "GuardrailP95Ms": "3000"},
    evidence={"Throttle": "store-throttled"},
    brief={"steady_s": 8, "fault_duration_s": 15, "recovery_s": 16, "rate_per_s": 32},
)
