"""Define objectives: a metric, its limit and the phase in which it must hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from kit.errors import UsageError


class Metric(StrEnum):
    """What is measured. Latency counts from the intended send; its percentiles leave out the phase's worst second."""

    LATENCY_MS_P50 = "latency_ms_p50"  # of first attempts of orders; a time-out counts as at least the time-out
    LATENCY_MS_P95 = "latency_ms_p95"
    LATENCY_MS_P99 = "latency_ms_p99"
    OPERATION_MS_P50 = "operation_ms_p50"  # of orders with all their retries, to the first 2xx
    OPERATION_MS_P95 = "operation_ms_p95"
    OPERATION_MS_P99 = "operation_ms_p99"
    CANCEL_MS_P95 = "cancel_ms_p95"  # of first attempts at cancels
    ORDER_READ_MS_P50 = "order_read_ms_p50"  # of first reads of an order
    ORDER_READ_MS_P95 = "order_read_ms_p95"
    MARKET_READ_MS_P50 = "market_read_ms_p50"
    MARKET_READ_MS_P95 = "market_read_ms_p95"  # of first reads of a book or of a page of trades
    DELIVERY_MS_P95 = "delivery_ms_p95"  # of ledger events: commit to the first subscriber that received it
    ERROR_RATE = "error_rate"  # attempts without an answer or with a 5xx, as a share of all
    AVAILABILITY = "availability"  # orders that were acknowledged in the end, as a share of all; the limit is a minimum
    TIME_TO_FIRST_FILL_MS_P95 = (
        "time_to_first_fill_ms_p95"  # of orders that traded on arrival: first send to first fill
    )
    RECONNECT_MS_MAX = "reconnect_ms_max"  # of subscribers: loss of the stream to the next open one
    RECOVERY_S = "recovery_s"  # phase start until the first sustained stretch of steady state
    THROTTLED_CALLS_PER_ATTEMPT = "throttled_calls_per_attempt"  # of the API's calls to the store, by all attempts

    @property
    def unit(self) -> str:
        if self is Metric.THROTTLED_CALLS_PER_ATTEMPT:
            return "calls"
        if "_ms_" in self.value:
            return "ms"
        return "s" if self.value.endswith("_s") else "share"

    @property
    def check(self) -> str:
        """The name of its finding."""
        return self.value.replace("_", "-")

    @property
    def is_minimum(self) -> bool:
        return self is Metric.AVAILABILITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """An availability objective: `target` is the share of requests that succeed, over any `window_days`."""

    target: float = 0.999
    window_days: float = 30

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise UsageError(f"availability: target={self.target!r} must lie between 0 and 1: 1 leaves no error budget")
        if not (self.window_days > 0 and math.isfinite(self.window_days)):
            raise UsageError(f"availability: window_days={self.window_days!r} must be a finite number > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """`metric` must keep to `limit` in `phase`. Metrics are given by name or as `Metric`."""

    metric: str
    limit: float
    phase: str

    def __post_init__(self) -> None:
        if self.metric not in set(Metric):
            raise UsageError(f"objective: unknown metric {self.metric!r}; known: {', '.join(sorted(Metric))}")
        if isinstance(self.limit, bool) or not math.isfinite(self.limit) or self.limit < 0:
            raise UsageError(f"objective {self.metric}: limit={self.limit!r} must be a finite number ≥ 0")

    def met(self, measured: float) -> bool:
        return measured >= self.limit if Metric(self.metric).is_minimum else measured <= self.limit
