"""The queue between intake and matching cannot be reached: from one zone, then from anywhere."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

DEPENDENCY_LOSS = Scenario(
    name="dependency-loss",
    title="Losing the order queue",
    hypothesis=(
        "When the queue cannot be reached, first from one zone and then from none, orders keep being accepted as fast "
        "as ever, fills wait, and when the queue is back every acknowledged order is sequenced and filled exactly once."
    ),
    template_output="DependencyLossTemplateId",
    actions=("aws:ecs:task-network-packet-loss",),
    objectives=(
        *usual.STEADY,
        # An acknowledgement stands on the store alone; nothing on a client's path asks the queue.
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=1_000),
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.05),
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=0.99),
        Objective(metric=Metric.RECONNECT_MS_MAX, phase="during", limit=10_000),
        # Fills wait for the second half of the fault to end, however long it is made, and then for the relay's round
        # and the locks on messages that a matcher received and could not delete.
        Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="during", limit=90_000),
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=10),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=0.99),
        *usual.HEALED,
    ),
    touches=("ecs", "links", "fis", "fis-tasks", "sqs", "cloudwatch"),
    steady_s=15,
    fault_duration_s=24,
    recovery_s=25,
    rate_per_s=48,
    clients=40,
    load=usual.LOAD,
    # Clients must hardly notice, so a tenth of errors for half a minute is reason enough to stop.
    stack={**usual.STACK, "GuardrailErrorRate": "0.2", "GuardrailP95Ms": "2000"},
    fault_parts=2,
    brief={"steady_s": 8, "fault_duration_s": 16, "recovery_s": 16, "rate_per_s": 25},
)
