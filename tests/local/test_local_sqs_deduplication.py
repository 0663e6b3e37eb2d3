"""SQS FIFO forgets a deduplication id five minutes after its message was sent, as on AWS. The clock is replaced.

Who relies on the queue to drop what is sent twice finds out in a soak.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ministack.services import sqs

WINDOW_S = 300


class Queue:
    """A FIFO queue whose clock is `now_s`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.now_s = 1_000_000.0
        monkeypatch.setattr(sqs, "time", SimpleNamespace(time=lambda: self.now_s))
        attributes = {"FifoQueue": "true", "VisibilityTimeout": "5"}
        self.url = sqs._act_create_queue({"QueueName": f"{name}.fifo", "Attributes": attributes}, "")["QueueUrl"]

    def send(self, deduplication_id: str, group: str = "ACME") -> str:
        entry = {"MessageBody": "x", "MessageGroupId": group, "MessageDeduplicationId": deduplication_id}
        return sqs._act_send_message({"QueueUrl": self.url, **entry}, self.url)["MessageId"]

    def take(self) -> list[str]:
        """Receive and delete what is there."""
        asked: dict[str, Any] = {"QueueUrl": self.url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0}
        found = asyncio.run(sqs._act_receive_message(asked, self.url)).get("Messages", [])
        for message in found:
            sqs._act_delete_message({"QueueUrl": self.url, "ReceiptHandle": message["ReceiptHandle"]}, self.url)
        return [message["MessageId"] for message in found]


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Queue:
    return Queue(monkeypatch, request.node.name[:60].replace("[", "-").replace("]", ""))


def test_an_id_is_known_for_five_minutes_although_its_message_was_deleted(queue: Queue):
    first = queue.send("k1")
    assert queue.take() == [first]
    queue.now_s += WINDOW_S - 1
    assert queue.send("k1") == first
    assert queue.take() == []


def test_an_id_is_forgotten_after_five_minutes(queue: Queue):
    first = queue.send("k1")
    assert queue.take() == [first]
    queue.now_s += WINDOW_S + 1
    again = queue.send("k1")
    assert again != first and queue.take() == [again]


def test_a_repeated_message_does_not_extend_the_five_minutes(queue: Queue):
    first = queue.send("k1")
    queue.take()
    queue.now_s += WINDOW_S - 1
    assert queue.send("k1") == first
    queue.now_s += 2
    assert queue.send("k1") != first
