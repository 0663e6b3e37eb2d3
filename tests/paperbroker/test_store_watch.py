"""Metrics of calls to DynamoDB and SQS, counted per attempt inside botocore."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from paperbroker.errors import QueueUnavailable, StoreThrottled, StoreUnavailable
from paperbroker.storage.queues import CommandQueue
from paperbroker.storage.tables import OrderTables
from paperbroker.storage.watch import Watch
from tests.paperbroker.paperbroker_rig import RecordedTelemetry
from tests.paperbroker.scripted_aws import OK, TABLES, Step, cancelled, refusal, scripted

THROTTLED = refusal("ProvisionedThroughputExceededException")
TIMED_OUT = ReadTimeoutError(endpoint_url="http://nowhere")


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the pauses between botocore's own retries."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)


@pytest.mark.parametrize(
    ("steps", "error", "counts"),
    [
        ([OK], None, {}),
        ([THROTTLED, OK], None, {"StoreThrottled": 1}),
        ([THROTTLED, THROTTLED], StoreThrottled, {"StoreThrottled": 2}),
        ([refusal("ThrottlingException")], StoreThrottled, {"StoreThrottled": 2}),
        ([TIMED_OUT, OK], None, {}),
        ([TIMED_OUT], StoreUnavailable, {"StoreErrors": 1}),
        ([(500, {"__type": "InternalServerError"})], StoreUnavailable, {"StoreErrors": 1}),
        ([refusal("ResourceNotFoundException")], StoreUnavailable, {}),
    ],
)
def test_a_call_is_counted_by_how_it_ended(steps: list[Step], error: type[Exception] | None, counts: dict[str, int]):
    """With two attempts per call: throttled attempts, calls without an answer, and the duration of each call."""
    telemetry = RecordedTelemetry()
    client, sent = scripted("dynamodb", steps, Watch("Store", telemetry), attempts=2)
    raised: type[Exception] | None = None
    try:
        OrderTables(client, TABLES).find_order("o1")
    except StoreUnavailable as exc:
        raised = type(exc)
    assert raised is error
    assert dict(telemetry.counts) == counts
    assert [name for name, _ in telemetry.values] == ["StoreMs"]
    assert len(sent) <= 2


def test_throttled_transaction_is_recognised_by_its_cancellation_reasons():
    """A failed condition does not count as throttling."""
    telemetry = RecordedTelemetry()
    steps = [cancelled("None", "ThrottlingError"), cancelled("ConditionalCheckFailed", "None")]
    client, _ = scripted("dynamodb", steps, Watch("Store", telemetry))
    for _ in steps:
        with contextlib.suppress(client.exceptions.TransactionCanceledException):
            client.transact_write_items(TransactItems=[])
    assert dict(telemetry.counts) == {"StoreThrottled": 1}


def test_long_polls_are_not_timed_but_their_failures_count():
    telemetry = RecordedTelemetry()
    client, _ = scripted("sqs", [OK, TIMED_OUT, OK], Watch("Queue", telemetry), attempts=1)
    queue = CommandQueue(client, "http://q/1/q.fifo")
    assert queue.receive() == []
    with pytest.raises(QueueUnavailable):
        queue.receive()
    queue.probe()
    assert [name for name, _ in telemetry.values] == ["QueueMs"]
    assert dict(telemetry.counts) == {"QueueErrors": 1}


def test_delay_flag_counts_as_part_of_the_call():
    """A delayed call looks like a call to a slow store, in the metric and to the breaker."""
    telemetry, calls, now, slept = RecordedTelemetry(), list[dict[str, Any]](), [100.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    watch = Watch(
        "Store",
        telemetry,
        on_call=lambda **call: calls.append(call),
        delay_s=lambda: 1.5,
        now_s=lambda: now[0],
        sleep=sleep,
    )
    client, _ = scripted("dynamodb", [OK], watch)
    OrderTables(client, TABLES).find_order("o1")
    assert slept == [1.5]
    assert telemetry.values == [("StoreMs", 1500.0)]
    assert calls == [{"started_s": 100.0, "took_s": 1.5, "failed": False}]
