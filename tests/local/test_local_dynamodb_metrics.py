"""AWS/DynamoDB data, and what all of this costs a table that no limit concerns."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kit.local.dynamodb.metrics import PERIOD_S, Meter
from tests.local.dynamodb_rig import by_owner, item, make_table, maximum, passes
from tests.polling import wait_until

pytestmark = pytest.mark.slow

# A call on an unlimited table may cost so much more, as a share of MiniStack's own PutItem of an order: a bound against
# work that grows, not a measurement. On a quiet machine it is some 0.2; on a busy one 0.45 was seen.
OVERHEAD_SHARE_MAX = 1.0
AWAY = "eu-west-1"
CALLS = 60
ROUNDS = 15


def test_traffic_throttling_and_conflicts_are_published(cloud):
    """One period of a busy and of a pressed table; a table without traffic says nothing."""
    dynamodb, cloudwatch = cloud.client("dynamodb"), cloud.client("cloudwatch")
    idle, busy = make_table(dynamodb), make_table(dynamodb, **by_owner())
    pressed = make_table(dynamodb, OnDemandThroughput=maximum(write=1))
    shared = make_table(dynamodb)
    shared_put = {"Put": {"TableName": shared, "Item": item()}}
    with ThreadPoolExecutor(16) as pool:
        race = [pool.submit(passes, dynamodb.transact_write_items, TransactItems=[shared_put]) for _ in range(64)]
    conflicts = sum(not each.result() for each in race)
    everywhere = make_table(dynamodb)
    dynamodb.update_table(TableName=everywhere, ReplicaUpdates=[{"Create": {"RegionName": AWAY}}])
    dynamodb.put_item(TableName=everywhere, Item=item())
    dynamodb.put_item(TableName=busy, Item=item(size=3000, owner={"S": "ann"}))
    dynamodb.put_item(TableName=busy, Item=item("b"))
    dynamodb.get_item(TableName=busy, Key={"pk": {"S": "a"}}, ConsistentRead=True)
    dynamodb.get_item(TableName=busy, Key={"pk": {"S": "nobody"}})
    put = {"Put": {"TableName": busy, "Item": item("c")}}
    dynamodb.transact_write_items(TransactItems=[put])
    refused = sum(not passes(dynamodb.put_item, TableName=pressed, Item=item()) for _ in range(10))
    assert refused
    assert conflicts

    def total(name: str, **dims: str) -> float:
        now = datetime.now(UTC)
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/DynamoDB", MetricName=name, Period=60, Statistics=["Sum"],
            StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=1),
            Dimensions=[{"Name": key, "Value": value} for key, value in dims.items()],
        )["Datapoints"]  # fmt: skip
        return sum(point["Sum"] for point in points)

    # The replicated write is the last to be counted; a period may end between it and the others.
    published_s_max = 2 * PERIOD_S + 5
    latency = {"TableName": everywhere, "ReceivingRegion": AWAY}
    wait_until(lambda: total("ReplicationLatency", **latency), "published", timeout_s=published_s_max)
    assert 200 < total("ReplicationLatency", **latency) < published_s_max * 1000
    assert total("WriteThrottleEvents", TableName=pressed) == refused
    assert total("ThrottledRequests", TableName=pressed, Operation="PutItem") == refused
    assert total("WriteMaxOnDemandThroughputThrottleEvents", TableName=pressed) == refused
    assert total("ConsumedWriteCapacityUnits", TableName=busy) == 3 + 1 + 2
    assert total("ConsumedWriteCapacityUnits", TableName=busy, GlobalSecondaryIndexName="by-owner") == 3
    assert total("ConsumedReadCapacityUnits", TableName=busy) == 1.5
    assert total("TransactionConflict", TableName=shared) == conflicts
    listed = cloudwatch.list_metrics(Namespace="AWS/DynamoDB")["Metrics"]
    assert all({"Name": "TableName", "Value": idle} not in each["Dimensions"] for each in listed)


def test_a_meter_tells_of_everything_that_it_counted():
    meter = Meter()
    meter.read[0.5] += 4
    meter.conflicts = 2
    meter.throttle("Write", "ProvisionedThroughputExceeded")
    meter.requests["TransactWriteItems"] += 1
    meter.replicated("eu-west-1", 0.61)
    told = {name: (unit, dict(on), dict(counts)) for name, unit, on, counts in meter.data({"TableName": "t"})}
    on = {"TableName": "t"}
    assert told == {
        "ConsumedReadCapacityUnits": ("Count", on, {0.5: 4}),
        "ConsumedWriteCapacityUnits": ("Count", on, {}),
        "WriteThrottleEvents": ("Count", on, {1.0: 1}),
        "WriteProvisionedThroughputThrottleEvents": ("Count", on, {1.0: 1}),
        "ThrottledRequests": ("Count", {**on, "Operation": "TransactWriteItems"}, {1.0: 1}),
        "TransactionConflict": ("Count", on, {1.0: 2}),
        "ReplicationLatency": ("Milliseconds", {**on, "ReceivingRegion": "eu-west-1"}, {600.0: 1}),
    }


# ---- the price for everybody else ----


@pytest.fixture
def own_ministack():
    """MiniStack in this process with our part installed: without HTTP its own time can be told from ours."""
    from ministack.services import dynamodb

    from kit.local.dynamodb import DynamoDb

    part = DynamoDb(1)
    yield dynamodb, part
    part.uninstall()
    dynamodb.reset()


def cpu_s(call: Any, request: dict[str, Any]) -> float:
    """CPU seconds a call."""
    began = time.process_time()
    for _ in range(CALLS):
        call(request)
    return (time.process_time() - began) / CALLS


def test_an_unlimited_on_demand_table_pays_next_to_nothing(own_ministack):
    """An order of PaperBroker's, in a table with an index that holds all of it."""
    dynamodb, part = own_ministack
    keys = ("pk", "owner", "idempotencyKey", "market", "side", "orderType", "tif", "status", "eventId")
    order = {**{name: {"S": f"{name}-0123456789abcdef"} for name in keys}}
    order |= {name: {"N": "1234567"} for name in ("qty", "price", "remaining", "acceptedAtNs")}
    dynamodb._create_table(
        {
            "TableName": "orders",
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            **by_owner(),
        }
    )
    put = {"TableName": "orders", "Item": order}
    get = {"TableName": "orders", "Key": {"pk": order["pk"]}, "ConsistentRead": True}

    plain, ours = {"put": [], "get": []}, {"put": [], "get": []}
    # In turns, so that a busy second burdens both; the quietest round of each counts.
    for _ in range(ROUNDS):
        for measured in (plain, ours):
            if measured is ours:
                part.install()
            measured["put"].append(cpu_s(dynamodb._put_item, put))
            measured["get"].append(cpu_s(dynamodb._get_item, get))
        part.uninstall()
    overhead = {name: min(ours[name]) - min(plain[name]) for name in ours}
    assert max(overhead.values()) < OVERHEAD_SHARE_MAX * min(plain["put"]), (overhead, plain)
