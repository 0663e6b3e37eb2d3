"""Cut the tasks off from the queue between intake and matching: first in one zone, then in both."""

from kit.scenarios.defaults import READ_LIMITS, scenario
from kit.slo.objectives import Metric

DEPENDENCY_LOSS = scenario(
    name="dependency-loss",
    title="Losing the order queue",
    hypothesis=(
        "When the queue cannot be reached, first from one zone and then from any, orders are accepted as fast as "
        "before and fills wait. When the queue is back, every acknowledged order is sequenced and filled exactly "
        "once."
    ),
    template_output="DependencyLossTemplateId",
    actions=("aws:ecs:task-network-packet-loss",),
    during={
        # An acknowledgement needs the store only. No request of a client waits for the queue.
        Metric.LATENCY_MS_P95: 1_000,
        Metric.ERROR_RATE: 0.05,
        Metric.AVAILABILITY: 0.99,
        Metric.RECONNECT_MS_MAX: 10_000,
        # Fills wait for the end of the second half of the fault, whatever its duration, then for the relay's round and
        # for the locks on messages that a matcher received and could not delete.
        Metric.TIME_TO_FIRST_FILL_MS_P95: 90_000,
        # Reads go to the store by a way of their own, which the fault does not touch.
        **READ_LIMITS,
    },
    recovery={Metric.RECOVERY_S: 10, Metric.AVAILABILITY: 0.99},
    touches=("ecs", "links", "fis", "fis-tasks", "sqs", "cloudwatch"),
    fault_duration_s=24,
    recovery_s=25,
    # Clients must hardly notice the fault, so an error rate of a fifth for half a minute stops the experiment.
    guardrail_error_rate=0.2,
    guardrail_p95_ms=2_000,
    fault_parts=2,
    brief={"fault_duration_s": 16, "recovery_s": 16, "rate_per_s": 25},
)
