"""The requests that make a retry harmless, as they leave for AWS: conditional puts, and a dedup id made of the key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from paperbroker.domain.events import IntakeEvent
from paperbroker.services.intake import Intake
from paperbroker.settings import Tables
from paperbroker.storage.clients import Clients
from paperbroker.storage.queues import CommandQueue
from paperbroker.storage.tables import OrderTables
from tests.paperbroker.paperbroker_rig import new_order

CLIENTS = Clients("us-east-1")
TABLES = Tables(orders="O", outbox="X", ledger="L", markets="M", positions="P", applied="A")


class Raw:
    """The body of an answer as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *args: Any, **kwargs: Any) -> Any:
        yield self._body


class Kept:
    """What `Intake` hands to the sender."""

    def __init__(self) -> None:
        self.events: list[IntakeEvent] = []

    def offer(self, event: IntakeEvent) -> None:
        self.events.append(event)


def recording(service: str, sent: list[dict[str, Any]], answer: dict[str, Any]) -> Any:
    """A client whose requests are recorded at the last moment before the network, and answered from here."""
    client = CLIENTS.make(service)

    def before_send(request: Any, **kwargs: Any) -> AWSResponse:
        sent.append(json.loads(request.body))
        headers = {"content-type": "application/x-amz-json-1.0"}
        return AWSResponse(request.url, 200, headers, Raw(json.dumps(answer).encode()))  # pyright: ignore

    client.meta.events.register("before-send", before_send)
    return client


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def submitted(credentials: None) -> Callable[[str], tuple[list[dict[str, Any]], IntakeEvent]]:
    """Submits one order under a key; the transaction's writes and the event for the queue."""

    def submit(key: str) -> tuple[list[dict[str, Any]], IntakeEvent]:
        sent: list[dict[str, Any]] = []
        kept = Kept()
        Intake(OrderTables(recording("dynamodb", sent, {}), TABLES), kept).submit(new_order(1, key=key), "trace-1")
        (request,) = sent
        return request["TransactItems"], kept.events[0]

    return submit


@pytest.mark.parametrize("prefix", ["order#", "key#"])
def test_order_and_key_are_written_by_conditional_puts_not_updates(submitted: Any, prefix: str):
    """Whoever writes second must be told, so the write may neither overwrite nor merge."""
    writes, _ = submitted("k1")
    to_orders = [write for write in writes if next(iter(write.values()))["TableName"] == "O"]
    assert all("Update" not in write for write in to_orders)
    (put,) = [w["Put"] for w in to_orders if "Put" in w and w["Put"]["Item"]["pk"]["S"].startswith(prefix)]
    assert put["ConditionExpression"] == "attribute_not_exists(pk)"


def test_key_record_is_named_by_client_and_key(submitted: Any):
    """The same key of another try names the same record; another key another one."""

    def name(key: str) -> str:
        items = [write.get("Put", {}).get("Item", {}) for write in submitted(key)[0]]
        names = [item["pk"]["S"] for item in items if "pk" in item]
        assert [n for n in names if n.startswith("key#")], "no conditional put of a key record"
        return next(n for n in names if n.startswith("key#"))

    assert name("k1") == name("k1") != name("k2")


def test_message_deduplicates_by_client_and_key(submitted: Any):
    """Two events of one (client, key) carry one deduplication id, events of two keys two."""

    def message(key: str) -> dict[str, Any]:
        sent: list[dict[str, Any]] = []
        CommandQueue(recording("sqs", sent, {"Successful": []}), "http://q/1/q.fifo").send([submitted(key)[1]])
        return sent[0]["Entries"][0]

    first, again, other = message("k1"), message("k1"), message("k2")
    assert first["MessageBody"] != again["MessageBody"], "the bodies differ, so content alone cannot deduplicate"
    assert first["MessageDeduplicationId"] == again["MessageDeduplicationId"] != other["MessageDeduplicationId"]
    assert first["MessageGroupId"] == "market-ACME"
