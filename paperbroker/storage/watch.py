"""Measure the calls of an AWS client through botocore's events: durations, errors and throttled attempts.

A call lasts as long as its caller waited, including botocore's retries. A throttled *attempt* is counted even if its
retry succeeds. An answer that refuses the request (a failed condition, a bad request) counts as a good call, because
the service is healthy. Metrics go to a `Meter`, the outcome of each call to a `Listener` such as a circuit breaker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from botocore.client import BaseClient

THROTTLES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
    }
)
# The same errors as spelled in the cancellation reasons of a transaction.
THROTTLE_REASONS = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError", "RequestLimitExceeded"})
CANCELLED = "TransactionCanceledException"
# A long poll waits when there are no messages, so its duration says nothing about the health of the queue.
LONG_POLL = "ReceiveMessage"
_STARTED = "paperbroker_started_s"


class Meter(Protocol):
    def count(self, name: str, n: int) -> None: ...

    def observe(self, name: str, value: float) -> None: ...


class Listener(Protocol):
    def __call__(self, *, started_s: float, took_s: float, failed: bool) -> None: ...


def is_throttled(response: Mapping[str, Any]) -> bool:
    """Return whether the answer means throttling, in which case the call had no effect."""
    code = response.get("Error", {}).get("Code")
    if code == CANCELLED:
        return any(reason.get("Code") in THROTTLE_REASONS for reason in response.get("CancellationReasons", ()))
    return code in THROTTLES


class Watch:
    """Measure the clients of one dependency. `kind` is the prefix of the metrics: Store or Queue.

    `delay_s` is read before each call, which then waits that long. It simulates a slow dependency, so the wait counts
    as part of the call.
    """

    def __init__(
        self,
        kind: str,
        meter: Meter,
        *,
        on_call: Listener | None = None,
        delay_s: Callable[[], float] | None = None,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._took, self._errors, self._throttled = f"{kind}Ms", f"{kind}Errors", f"{kind}Throttled"
        self._meter = meter
        self._on_call = on_call
        self._delay_s = delay_s
        self._now_s = now_s
        self._sleep = sleep

    def attach(self, client: BaseClient) -> None:
        events = client.meta.events
        events.register("before-call", self._begin)
        events.register("response-received", self._attempted)
        events.register("after-call", self._answered)
        events.register("after-call-error", self._failed)

    def _begin(self, context: dict[str, Any], **kwargs: Any) -> None:
        context[_STARTED] = self._now_s()
        if self._delay_s is not None and (delay_s := self._delay_s()) > 0:
            self._sleep(delay_s)

    def _attempted(self, parsed_response: dict[str, Any] | None, **kwargs: Any) -> None:
        if parsed_response is not None and "Error" in parsed_response and is_throttled(parsed_response):
            self._meter.count(self._throttled, 1)

    def _answered(self, http_response: Any, model: Any, context: dict[str, Any], **kwargs: Any) -> None:
        self._end(context, http_response.status_code >= 500, model.name == LONG_POLL)

    def _failed(self, event_name: str, context: dict[str, Any], **kwargs: Any) -> None:
        """Record a timeout or a broken connection, with its duration: these are the slowest calls."""
        self._end(context, True, event_name.endswith(LONG_POLL))

    def _end(self, context: dict[str, Any], failed: bool, long_poll: bool) -> None:
        started_s = context[_STARTED]
        took_s = self._now_s() - started_s
        if not long_poll:
            self._meter.observe(self._took, took_s * 1e3)
        if failed:
            self._meter.count(self._errors, 1)
        if self._on_call is not None:
            self._on_call(started_s=started_s, took_s=took_s, failed=failed)
