"""The network of a zone is slow, then lossy, then deaf on the API's port."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

NETWORK_IMPAIRMENT = Scenario(
    name="network-impairment",
    title="A bad network in one availability zone",
    hypothesis=(
        "When the network of one zone turns slow, then loses packets, then lets nobody reach its API, orders take "
        "longer but keep being accepted, every acknowledged order is sequenced and filled exactly once, and steady "
        "state is back by itself."
    ),
    template_output="NetworkImpairmentTemplateId",
    actions=(
        "aws:ecs:task-network-latency",
        "aws:ecs:task-network-packet-loss",
        "aws:ecs:task-network-blackhole-port",
    ),
    objectives=(
        *usual.STEADY,
        # Half of the orders go through the other zone. Those that do not pay 300 ms for every leg to the other zone or
        # to the store; then one packet in three is lost, and TCP repeats it after 0.2, 0.4, 0.8 s.
        Objective(metric=Metric.LATENCY_MS_P50, phase="during", limit=1_000),
        # Behind the blackholed port an attempt times out after 2 s, and the next goes to the same zone as likely as
        # not: two or three time-outs to the first answer. The first attempt's own answer may come when the port is
        # back, however late that is, so its p95 would measure the length of the fault.
        Objective(metric=Metric.OPERATION_MS_P95, phase="during", limit=8_000),
        # Only the blackholed port costs answers: half of the requests for some ten seconds of the last third.
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.3),
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=0.99),
        Objective(metric=Metric.RECONNECT_MS_MAX, phase="during", limit=10_000),
        # A matcher with a lossy way to the store may hold a market until the lock on its messages lapses, and again.
        Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="during", limit=10_000),
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=15),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=0.99),
        *usual.HEALED,
    ),
    touches=("ecs", "alb", "links", "fis", "fis-tasks", "cloudwatch"),
    steady_s=15,
    fault_duration_s=36,
    recovery_s=20,
    rate_per_s=48,
    clients=40,
    load=usual.LOAD,
    # As for a lost zone: a third of all answers missing for half a minute is no longer one zone's network.
    stack={**usual.STACK, "GuardrailErrorRate": "0.4", "GuardrailP95Ms": "3000"},
    fault_parts=3,
    brief={"steady_s": 8, "fault_duration_s": 30, "recovery_s": 16, "rate_per_s": 25},
)
