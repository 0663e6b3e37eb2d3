"""Match errors with retriers and catchers, and compute the delay of a retry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kit.local.stepfunctions.errors import ALL, HEARTBEAT_TIMEOUT, TASK_FAILED, TIMEOUT, StateFailed

ATTEMPTS_DEFAULT = 3
INTERVAL_S_DEFAULT = 1
BACKOFF_DEFAULT = 2.0
# The longest delay that AWS allows: a year.
DELAY_S_MAX = 31_622_400.0


def matches(names: Sequence[str], failure: StateFailed, *, is_heartbeat: bool = False) -> bool:
    """Return whether one of the names is that of the failure."""
    if failure.is_terminal:
        return False
    if ALL in names or failure.name in names:
        return True
    if failure.name == TIMEOUT:
        return is_heartbeat and HEARTBEAT_TIMEOUT in names
    # Time-outs are the only failures of a task that States.TaskFailed does not match.
    return TASK_FAILED in names


def delay_s(retrier: Mapping[str, Any], attempts: int, random: Callable[[], float]) -> float | None:
    """Return the delay before the next retry after so many retries, or None if there are no more."""
    if attempts >= retrier.get("MaxAttempts", ATTEMPTS_DEFAULT):
        return None
    interval = float(retrier.get("IntervalSeconds", INTERVAL_S_DEFAULT))
    # The exponent is bounded, because a float overflows.
    delay = interval * float(retrier.get("BackoffRate", BACKOFF_DEFAULT)) ** min(attempts, 64)
    delay = min(delay, float(retrier.get("MaxDelaySeconds", DELAY_S_MAX)), DELAY_S_MAX)
    return delay * random() if retrier.get("JitterStrategy") == "FULL" else delay
