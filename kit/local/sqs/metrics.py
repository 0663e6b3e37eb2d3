"""Count the messages and the empty receives of queues, and publish them as AWS/SQS metrics."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import cloudwatch

NAMESPACE = "AWS/SQS"
# AWS publishes every minute, which is too slow for a game day on a laptop (see docs/fidelity.md).
PERIOD_S = 10
SENT, RECEIVED, DELETED = "NumberOfMessagesSent", "NumberOfMessagesReceived", "NumberOfMessagesDeleted"
EMPTY_RECEIVES = "NumberOfEmptyReceives"

Queue = tuple[str, str, str]  # account, Region and name


class Metrics:
    """The counters of all queues, in one period."""

    def __init__(self) -> None:
        self._counts: dict[Queue, Counter[str]] = {}

    def count(self, queue: Queue, action: str, answer: dict[str, Any]) -> None:
        """Count one call that was answered without an error."""
        counted = _counted(action, answer)
        if counted:
            self._counts.setdefault(queue, Counter()).update(counted)

    def publish(self, began_at: float) -> None:
        """Store the period in CloudWatch and start a new one. Without calls there is no datapoint."""
        for (account, region, name), counts in self._counts.items():
            with request_scope(account, region):
                for metric, count in counts.items():
                    dims = {"QueueName": name}
                    cloudwatch._store_datum(NAMESPACE, metric, dims, began_at, "Count", float(count), None, None, None)
        self._counts.clear()


def _counted(action: str, answer: dict[str, Any]) -> dict[str, int]:
    """Return what a call adds to which metric."""
    if action == "ReceiveMessage":
        received = len(answer.get("Messages", []))
        return {RECEIVED: received} if received else {EMPTY_RECEIVES: 1}
    metric = SENT if action.startswith("SendMessage") else DELETED if action.startswith("DeleteMessage") else ""
    if not metric:
        return {}
    count = len(answer.get("Successful", [])) if action.endswith("Batch") else 1
    return {metric: count} if count else {}
