"""Break nothing for more than twenty minutes, with a long idle time, to show what only time breaks.

Deduplication windows of five minutes, keys and records that expire, caches, leases and idle connections are older than
any other scenario lasts. Nothing is accelerated: SQS has a fixed window, and PaperBroker's own times are constants of
its code, so that a shorter soak would test other constants than those that are deployed.
"""

from kit.scenarios.defaults import scenario
from kit.slo.objectives import Metric

BUSY_S = 330
IDLE_S = 640

SOAK = scenario(
    name="soak",
    title="Twenty minutes with an idle time",
    hypothesis=(
        "Time alone breaks nothing: after ten idle minutes orders are accepted at once, keys of the first minutes are "
        "still known and their orders can still be read and cancelled, and a subscriber that reads slowly, stops "
        "reading or stays away for minutes gets every event once and in order."
    ),
    template_output="SteadyStateTemplateId",
    actions=("aws:fis:wait",),
    during={
        Metric.LATENCY_MS_P95: 250,
        Metric.ERROR_RATE: 0.01,
        Metric.AVAILABILITY: 1.0,
        Metric.TIME_TO_FIRST_FILL_MS_P95: 2_000,
    },
    recovery={Metric.RECOVERY_S: 2},
    touches=("ecs", "alb", "cloudwatch", "sqs"),
    fault_duration_s=1_200,
    recovery_s=30,
    rate_per_s=20,
    guardrail_error_rate=0.3,
    guardrail_p95_ms=3_000,
    load={
        "busy_s": BUSY_S,
        "idle_s": IDLE_S,
        "late_ratio": 0.08,
        "late_s_max": 1_250.0,
        "absent_s": 150.0,
        "slow_pause_s": 240.0,
        "trickle_per_s": 1.0,
        "replay_every_s": 120.0,
    },
    scalable=False,
    brief={"fault_duration_s": 20, "recovery_s": 10, "rate_per_s": 20},
)
