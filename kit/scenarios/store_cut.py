"""The store cannot be reached from one zone, whose tasks live on."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

STORE_CUT = Scenario(
    name="store-cut",
    title="One zone without its store",
    hypothesis=(
        "When the tasks of one zone cannot reach their tables any more, they say so, the load balancer sends them "
        "nothing, orders go on through the other zone, every acknowledged order is sequenced and filled exactly once, "
        "and steady state is back by itself."
    ),
    template_output="StoreCutTemplateId",
    actions=("aws:network:disrupt-connectivity",),
    objectives=(
        *usual.STEADY,
        # Half of the requests wait for a store that does not answer until the breaker opens: 1.7 s, or clients' 2 s.
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=3_000),
        # Until two health checks have failed, some ten seconds of the shortest fault, half of all attempts end in the
        # cut zone, and what failed is tried again: about 22 %. A zone that says it is ready fails half to the end.
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.35),
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=0.99),
        Objective(metric=Metric.RECONNECT_MS_MAX, phase="during", limit=10_000),
        # What the cut zone's matcher has received when it finds that it cannot commit stays locked for 8 s; then the
        # other one has those seconds of orders to catch up with.
        Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="during", limit=12_000),
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=15),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=0.99),
        *usual.HEALED,
    ),
    touches=("ecs", "alb", "links", "fis", "dynamodb", "cloudwatch"),
    steady_s=15,
    fault_duration_s=30,
    recovery_s=20,
    rate_per_s=48,
    clients=40,
    load=usual.LOAD,
    stack={
        **usual.STACK,
        # To replace a task that is well but for its store is in vain as long as the cut lasts, and the replacement may
        # be placed in the other zone: nobody could tell any more whether the cut is over.
        "ApiGraceSeconds": "900",
        # One zone of two is half of all answers; only when the other one fails as well is it a disaster.
        "GuardrailErrorRate": "0.7",
        "GuardrailP95Ms": "3000",
    },
    brief={"steady_s": 8, "fault_duration_s": 28, "recovery_s": 16, "rate_per_s": 30},
)
