"""AWS/SQS metrics: what is counted, and for which queue."""

from __future__ import annotations

from typing import Any

import pytest
from ministack.services import cloudwatch

from kit.local.sqs.metrics import NAMESPACE, Metrics

QUEUE = ("000000000000", "us-east-1", "commands.fifo")
BEGAN_AT = 1_700_000_000.0


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, float]]:
    """Queue, metric and value of each datum that is stored."""
    stored: list[tuple[str, str, float]] = []

    def store(namespace: str, name: str, dims: dict[str, str], at: float, unit: str, value: float, *_: Any) -> None:
        assert (namespace, at, unit) == (NAMESPACE, BEGAN_AT, "Count")
        stored.append((dims["QueueName"], name, value))

    monkeypatch.setattr(cloudwatch, "_store_datum", store)
    return stored


def test_messages_and_empty_receives_are_counted_by_queue(published: list[tuple[str, str, float]]):
    metrics = Metrics()
    metrics.count(QUEUE, "SendMessageBatch", {"Successful": [{}, {}], "Failed": [{}]})
    metrics.count(QUEUE, "SendMessage", {"MessageId": "1"})
    metrics.count(QUEUE, "ReceiveMessage", {"Messages": [{}, {}]})
    for _ in range(3):
        metrics.count(QUEUE, "ReceiveMessage", {})
    metrics.count(QUEUE, "DeleteMessageBatch", {"Successful": [{}]})
    metrics.count((*QUEUE[:2], "other"), "DeleteMessage", {})
    metrics.publish(BEGAN_AT)
    assert sorted(published) == [
        ("commands.fifo", "NumberOfEmptyReceives", 3.0),
        ("commands.fifo", "NumberOfMessagesDeleted", 1.0),
        ("commands.fifo", "NumberOfMessagesReceived", 2.0),
        ("commands.fifo", "NumberOfMessagesSent", 3.0),
        ("other", "NumberOfMessagesDeleted", 1.0),
    ]


def test_a_period_without_calls_has_no_datapoint(published: list[tuple[str, str, float]]):
    metrics = Metrics()
    metrics.count(QUEUE, "ReceiveMessage", {})
    metrics.count(QUEUE, "ChangeMessageVisibility", {})
    metrics.count(QUEUE, "SendMessageBatch", {"Successful": [], "Failed": [{}]})
    metrics.publish(BEGAN_AT)
    published.clear()
    metrics.publish(BEGAN_AT)
    assert published == []
