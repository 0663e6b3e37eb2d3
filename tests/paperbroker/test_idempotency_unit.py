"""The AWS requests that make retries safe: conditional puts, and a deduplication id made from client and key."""

from __future__ import annotations

from typing import Any

import pytest

from paperbroker.domain.events import IntakeEvent
from tests.paperbroker.paperbroker_rig import new_order
from tests.paperbroker.scripted_aws import ScriptedIntake, message_of


def submitted(key: str) -> tuple[list[dict[str, Any]], IntakeEvent]:
    """Submit an order under a key; return the writes of the transaction and the event for the queue."""
    rig = ScriptedIntake()
    rig.intake.submit(new_order(1, key=key), "trace-1")
    return rig.sent[0]["TransactItems"], rig.offered[0]


@pytest.mark.parametrize("prefix", ["order#", "key#"])
def test_order_and_key_are_written_by_conditional_puts_not_updates(prefix: str):
    """The second writer must get an error, so a write may neither overwrite nor merge."""
    writes, _ = submitted("k1")
    to_orders = [write for write in writes if next(iter(write.values()))["TableName"] == "O"]
    assert all("Update" not in write for write in to_orders)
    (put,) = [w["Put"] for w in to_orders if "Put" in w and w["Put"]["Item"]["pk"]["S"].startswith(prefix)]
    assert put["ConditionExpression"] == "attribute_not_exists(pk)"


def test_key_record_is_named_by_client_and_key():
    """A retry with the same key names the same record; another key names another one."""

    def name(key: str) -> str:
        items = [write.get("Put", {}).get("Item", {}) for write in submitted(key)[0]]
        names = [item["pk"]["S"] for item in items if item.get("pk", {}).get("S", "").startswith("key#")]
        assert names, "no conditional put of a key record"
        return names[0]

    assert name("k1") == name("k1") != name("k2")


def test_message_deduplicates_by_client_and_key():
    """Two events of one (client, key) have the same deduplication id; events of two keys have two."""
    first, again, other = (message_of(submitted(key)[1]) for key in ("k1", "k1", "k2"))
    assert first["MessageBody"] != again["MessageBody"], "the bodies differ, so content alone cannot deduplicate"
    assert first["MessageDeduplicationId"] == again["MessageDeduplicationId"] != other["MessageDeduplicationId"]
    assert first["MessageGroupId"] == "market-ACME"
