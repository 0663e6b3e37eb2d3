"""Make the network of one zone slow, then lossy, then unreachable on the API's port."""

from kit.scenarios.defaults import OTHER_ZONE_READ_LIMITS, scenario
from kit.slo.objectives import Metric

NETWORK_IMPAIRMENT = scenario(
    name="network-impairment",
    title="A bad network in one availability zone",
    hypothesis=(
        "When the network of one zone gets slow, then loses packets, then blocks its API's port, orders take longer "
        "but are still accepted, every acknowledged order is sequenced and filled exactly once, and steady state "
        "returns without intervention."
    ),
    template_output="NetworkImpairmentTemplateId",
    actions=(
        "aws:ecs:task-network-latency",
        "aws:ecs:task-network-packet-loss",
        "aws:ecs:task-network-blackhole-port",
    ),
    during={
        # Half of the orders go through the other zone. The others wait 300 ms for every message to or from the other
        # zone or the store. Later one packet in three is lost, and TCP sends it again after 0.2, 0.4, 0.8 s.
        Metric.LATENCY_MS_P50: 1_000,
        # With the port blackholed an attempt times out after 2 s, and the next one goes to the same zone with a
        # probability of one half: two or three time-outs until the first answer. The limit is not on the p95 of first
        # attempts: their answers may come when the port is back, so they would measure the duration of the fault.
        Metric.OPERATION_MS_P95: 8_000,
        # Only the blackholed port loses answers: half of the requests for about ten seconds of the last third.
        Metric.ERROR_RATE: 0.3,
        Metric.AVAILABILITY: 0.99,
        Metric.RECONNECT_MS_MAX: 10_000,
        # A matcher with a lossy connection to the store may hold a market until the lock on its messages expires, more
        # than once.
        Metric.TIME_TO_FIRST_FILL_MS_P95: 10_000,
        # There is no limit on the p95: reads of the blackholed port are answered when the port is back.
        **OTHER_ZONE_READ_LIMITS,
    },
    recovery={Metric.RECOVERY_S: 15, Metric.AVAILABILITY: 0.99},
    touches=("ecs", "alb", "links", "fis", "fis-tasks", "cloudwatch"),
    fault_duration_s=36,
    recovery_s=20,
    # An error rate above 0.4 for half a minute is more than the bad network of one zone can cause.
    guardrail_error_rate=0.4,
    guardrail_p95_ms=3_000,
    fault_parts=3,
    brief={"fault_duration_s": 30, "recovery_s": 16, "rate_per_s": 25},
)
