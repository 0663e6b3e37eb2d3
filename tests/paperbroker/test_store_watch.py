"""What is counted of the calls to DynamoDB and SQS: every attempt, through botocore's own machinery."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from paperbroker.errors import QueueUnavailable, StoreThrottled, StoreUnavailable
from paperbroker.storage.queues import CommandQueue
from paperbroker.storage.tables import OrderTables
from paperbroker.storage.watch import Watch
from tests.paperbroker.scripted_aws import TABLES, Step, cancelled, refusal, scripted

OK: Step = (200, {})
THROTTLED = refusal("ProvisionedThroughputExceededException")
TIMED_OUT = ReadTimeoutError(endpoint_url="http://nowhere")


class Meter:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.values: list[tuple[str, float]] = []

    def count(self, name: str, n: int) -> None:
        self.counts[name] += n

    def observe(self, name: str, value: float) -> None:
        self.values.append((name, value))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials, and no waits within botocore's own retries."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
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
    """With two attempts: attempts that were throttled, calls that got no answer, and the time of each call."""
    meter = Meter()
    client, sent = scripted("dynamodb", steps, Watch("Store", meter), attempts=2)
    said: type[Exception] | None = None
    try:
        OrderTables(client, TABLES).find_order("o1")
    except StoreUnavailable as exc:
        said = type(exc)
    assert said is error
    assert dict(meter.counts) == counts
    assert [name for name, _ in meter.values] == ["StoreMs"]
    assert len(sent) <= 2


def test_throttled_transaction_is_known_by_its_reasons():
    """DynamoDB says so in a reason of the cancelled transaction; a failed condition is no throttling."""
    meter = Meter()
    steps = [cancelled("None", "ThrottlingError"), cancelled("ConditionalCheckFailed", "None")]
    client, _ = scripted("dynamodb", steps, Watch("Store", meter))
    for _ in steps:
        with contextlib.suppress(client.exceptions.TransactionCanceledException):
            client.transact_write_items(TransactItems=[])
    assert dict(meter.counts) == {"StoreThrottled": 1}


def test_long_polls_are_not_timed_but_their_failures_count():
    meter = Meter()
    client, _ = scripted("sqs", [OK, TIMED_OUT, OK], Watch("Queue", meter), attempts=1)
    queue = CommandQueue(client, "http://q/1/q.fifo")
    assert queue.receive() == []
    with pytest.raises(QueueUnavailable):
        queue.receive()
    queue.probe()
    assert [name for name, _ in meter.values] == ["QueueMs"]
    assert dict(meter.counts) == {"QueueErrors": 1}


def test_delay_belongs_to_the_call_and_is_heard():
    """A call that the flag holds up looks like one to a slow store: in its time, and for the breaker."""
    meter, heard, now, slept = Meter(), list[dict[str, Any]](), [100.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    watch = Watch(
        "Store",
        meter,
        on_call=lambda **told: heard.append(told),
        delay_s=lambda: 1.5,
        now_s=lambda: now[0],
        sleep=sleep,
    )
    client, _ = scripted("dynamodb", [OK], watch)
    OrderTables(client, TABLES).find_order("o1")
    assert slept == [1.5]
    assert meter.values == [("StoreMs", 1500.0)]
    assert heard == [{"started_s": 100.0, "took_s": 1.5, "failed": False}]
