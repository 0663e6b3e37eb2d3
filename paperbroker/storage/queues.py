"""The command queue: SQS FIFO with one message group per market, so that a market's commands stay in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paperbroker.domain.events import IntakeEvent
from paperbroker.domain.orders import idempotency_digest
from paperbroker.errors import QueueUnavailable
from paperbroker.storage.clients import READ_TIMEOUT_S, unavailable_as

if TYPE_CHECKING:
    from botocore.client import BaseClient

BATCH_MAX = 10  # The limit of SQS for one call.
# A received message locks its market for all other matchers. This is as short as a commit with its retries allows,
# because a market stands still for this long when a matcher dies or is cut off while it holds messages.
VISIBILITY_S = 5
WAIT_S = 1
RECEIVE_TIMEOUT_S = WAIT_S + READ_TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One received message. `event` is None if the body is not an intake event."""

    event: IntakeEvent | None
    receipt: str
    body: str


class CommandQueue:
    """Send, receive and delete intake events."""

    def __init__(self, sqs: BaseClient, queue_url: str) -> None:
        self._sqs: Any = sqs
        self._url = queue_url

    def send(self, events: Sequence[IntakeEvent]) -> list[IntakeEvent]:
        """Send at most BATCH_MAX events; return those that the queue has. Sending again is safe: it deduplicates."""
        entries = [_entry(str(index), event) for index, event in enumerate(events)]
        with unavailable_as(QueueUnavailable, "SendMessageBatch"):
            answer = self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries)
        return [events[int(sent["Id"])] for sent in answer.get("Successful", [])]

    def receive(self) -> list[Message]:
        """Receive the next messages, of any markets; wait up to WAIT_S if there are none."""
        with unavailable_as(QueueUnavailable, "ReceiveMessage"):
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=BATCH_MAX,
                VisibilityTimeout=VISIBILITY_S,
                WaitTimeSeconds=WAIT_S,
            )
        return [_message(raw) for raw in answer.get("Messages", [])]

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete at most BATCH_MAX messages. One that remains is delivered again and recognised by its event id."""
        entries = [{"Id": str(index), "ReceiptHandle": m.receipt} for index, m in enumerate(messages)]
        with unavailable_as(QueueUnavailable, "DeleteMessageBatch"):
            self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)

    def probe(self) -> None:
        """Do one cheap read. Raises QueueUnavailable if the queue cannot be reached."""
        with unavailable_as(QueueUnavailable, "GetQueueAttributes"):
            self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["VisibilityTimeout"])


def _entry(entry_id: str, event: IntakeEvent) -> dict[str, str]:
    """Build an entry. The queue drops a second message of one (client, key): from intake, a retry or the relay."""
    return {
        "Id": entry_id,
        "MessageBody": event.to_json(),
        "MessageGroupId": f"market-{event.market}",
        "MessageDeduplicationId": idempotency_digest(event.client_id, event.idempotency_key),
    }


def _message(raw: dict[str, str]) -> Message:
    try:
        event = IntakeEvent.from_json(raw["Body"])
    except ValueError:
        event = None  # The matcher logs it and leaves it to the dead-letter queue.
    return Message(event=event, receipt=raw["ReceiptHandle"], body=raw["Body"])
