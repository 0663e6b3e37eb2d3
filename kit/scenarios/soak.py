"""Break nothing for more than twenty minutes, with a long idle time, to show what only time breaks.

Deduplication windows of five minutes, keys and records that expire, caches, leases and idle connections are older than
any other scenario lasts. Nothing is accelerated: SQS has a fixed window, and PaperBroker's own times are constants of
its code, so that a shorter soak would test other constants than those that are deployed.

The load is sent in two busy times with a quarter of an hour between them, which costs a machine little. The second one
lasts to the end of the run. In it, keys and orders of the first one are used again, then at least fifteen minutes old.
"""

from kit.scenarios.defaults import READ_LIMITS, scenario
from kit.slo.objectives import Metric

BUSY_S = 190
IDLE_S = 900
FAULT_S = 1_200

SOAK = scenario(
    name="soak",
    title="Twenty minutes with an idle time",
    hypothesis=(
        "Time alone breaks nothing: after fifteen idle minutes orders are accepted at once, keys of the first minutes "
        "are still known and their orders can still be read and cancelled, and a subscriber that reads slowly, stops "
        "reading or stays away for over a minute gets every event once and in order."
    ),
    template_output="SteadyStateTemplateId",
    actions=("aws:fis:wait",),
    during={
        Metric.LATENCY_MS_P95: 250,
        **READ_LIMITS,
        Metric.ERROR_RATE: 0.01,
        Metric.AVAILABILITY: 1.0,
        Metric.TIME_TO_FIRST_FILL_MS_P95: 2_000,
    },
    recovery={Metric.RECOVERY_S: 2},
    touches=("ecs", "alb", "cloudwatch", "sqs"),
    fault_duration_s=FAULT_S,
    recovery_s=30,
    rate_per_s=20,
    guardrail_error_rate=0.3,
    guardrail_p95_ms=3_000,
    # One market, so that a busy time has several times the events that a stream's buffer holds.
    stack={"Markets": "ACME"},
    load={
        "busy_s": BUSY_S,
        "idle_s": IDLE_S,
        "late_ratio": 0.06,
        # A request that is due in the idle time follows it. One in ten would come after the end of the run.
        "late_s_max": 1_250.0,
        # Longer than a stream's buffer lasts, and shorter than half a busy time.
        "absent_s": 75.0,
        "slow_pause_s": 75.0,
        "trickle_share": 0.65,
        "replay_every_s": 120.0,
        # More than all places of two tasks before the idle time ends.
        "visits_per_s": 1.0,
    },
    scalable=False,
    brief={"fault_duration_s": 20, "recovery_s": 10, "rate_per_s": 20},
)
