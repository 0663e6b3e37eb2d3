"""What the scenarios have in common: how clients behave, how large the stack is, what steady means. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.slo.objectives import Availability, Metric, Objective

LOAD: Mapping[str, Any] = {
    "resubmit_early_ratio": 0.2,
    "new_order_id_ratio": 0.1,
    "cancel_ratio": 0.1,
    "resubmit_ratio": 0.03,
    "read_back_ratio": 0.03,
    # One stays as long as it can; the other shows again and again that a stream can be resumed.
    "subscribers_per_market": 2,
    "reconnect_every_s": 4.0,
    "timeout_ms": 2_000,
}

# The smallest stack that can lose one of everything.
STACK: Mapping[str, str] = {
    "Markets": "ACME,BOLT",
    "ApiTasks": "2",
    "MatcherTasks": "2",
    "RelayTasks": "2",
}

# What clients are promised in the long run; a game day tells how much of its error budget the fault cost.
PROMISED = Availability(target=0.999, window_days=30)

STEADY = (
    Objective(metric=Metric.LATENCY_MS_P95, phase="before", limit=250),
    Objective(metric=Metric.ERROR_RATE, phase="before", limit=0.01),
)

# After a fault nothing of it may be left: no error, no order that never came through, no backlog of fills.
HEALED = (
    Objective(metric=Metric.ERROR_RATE, phase="after", limit=0.01),
    Objective(metric=Metric.AVAILABILITY, phase="after", limit=1.0),
    Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="after", limit=5_000),
)
