"""AWS/DynamoDB metrics, and the CPU time that our patches cost a table without limits."""

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

# The extra CPU time of a call on an unlimited table, as a share of MiniStack's own PutItem of an order. The bound finds
# large regressions only: 0.2 was measured on a quiet machine, 0.45 on a busy one.
OVERHEAD_SHARE_MAX = 1.0
AWAY = "eu-west-1"
CALLS = 60
ROUNDS = 15


def test_traffic_throttling_and_conflicts_are_published(cloud):
    """One period of a busy and of a throttled table; a table without traffic has no datapoint."""
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

    # The replicated write is counted last, perhaps in the next period.
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


def test_a_meter_publishes_everything_that_it_counted():
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


# ---- CPU time ----


@pytest.fixture
def own_ministack():
    """MiniStack's DynamoDB in this process, so that its CPU time and ours can be compared without HTTP."""
    from ministack.services import dynamodb

    from kit.local.dynamodb import DynamoDb

    service = DynamoDb(1)
    yield dynamodb, service
    service.uninstall()
    dynamodb.reset()


def cpu_s(call: Any, request: dict[str, Any]) -> float:
    """Return the CPU seconds of one call."""
    began = time.process_time()
    for _ in range(CALLS):
        call(request)
    return (time.process_time() - began) / CALLS


def test_an_unlimited_on_demand_table_costs_little_more_cpu_time(own_ministack):
    """The item is an order of PaperBroker; the table has an index that projects all attributes."""
    dynamodb, service = own_ministack
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
    # Both are measured alternately, and the fastest round of each counts, because other processes disturb.
    for _ in range(ROUNDS):
        for measured in (plain, ours):
            if measured is ours:
                service.install()
            measured["put"].append(cpu_s(dynamodb._put_item, put))
            measured["get"].append(cpu_s(dynamodb._get_item, get))
        service.uninstall()
    overhead = {name: min(ours[name]) - min(plain[name]) for name in ours}
    assert max(overhead.values()) < OVERHEAD_SHARE_MAX * min(plain["put"]), (overhead, plain)
