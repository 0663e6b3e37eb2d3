"""Cut the tasks of one zone off from the store."""

from kit.scenarios.defaults import OTHER_ZONE_READ_LIMITS, TIMED_OUT_READ_LIMITS, scenario
from kit.slo.objectives import Metric

STORE_CUT = scenario(
    name="store-cut",
    title="One zone without its store",
    hypothesis=(
        "When the tasks of one zone cannot reach their tables any more, they report that they are not ready, the load "
        "balancer sends them no requests, orders continue through the other zone, every acknowledged order is "
        "sequenced and filled exactly once, and steady state returns without intervention."
    ),
    template_output="StoreCutTemplateId",
    actions=("aws:network:disrupt-connectivity",),
    during={
        # Until the circuit breaker opens, half of the requests wait for a store that does not answer: for 1.7 s, or for
        # the clients' time-out of 2 s.
        Metric.LATENCY_MS_P95: 3_000,
        # Until two health checks have failed, about ten seconds of the shortest fault, half of all attempts end in the
        # cut zone, and failed attempts are retried: about 22 %. In a build whose tasks report ready, half fail to the
        # end.
        Metric.ERROR_RATE: 0.35,
        Metric.AVAILABILITY: 0.99,
        Metric.RECONNECT_MS_MAX: 10_000,
        # Messages that the cut zone's matcher received but cannot commit stay locked for 8 s. The other matcher then
        # has those seconds of orders to catch up with.
        Metric.TIME_TO_FIRST_FILL_MS_P95: 12_000,
        # A read in the cut zone fails after 1.7 s, or times out, until the zone gets no more requests.
        **OTHER_ZONE_READ_LIMITS,
        **TIMED_OUT_READ_LIMITS,
    },
    recovery={Metric.RECOVERY_S: 15, Metric.AVAILABILITY: 0.99},
    touches=("ecs", "alb", "links", "fis", "dynamodb", "cloudwatch"),
    # Two failed health checks of a task's process, 15 s apart, so that a liveness that depends on the store is seen.
    fault_duration_s=36,
    recovery_s=20,
    # One zone of two is half of all answers. The guardrails trip only when the other zone fails as well.
    guardrail_error_rate=0.7,
    guardrail_p95_ms=3_000,
    # ECS must not replace tasks that only lack their store. The replacements could not start either, or would be placed
    # in the other zone, where nothing shows the end of the cut.
    stack={"ApiGraceSeconds": "900", "ApiHealthRetries": "2", "MatcherHealthRetries": "2"},
    brief={"fault_duration_s": 31, "recovery_s": 16, "rate_per_s": 30},
)
