"""Limited capacity of tables and indexes, provisioned and on demand, and the units that calls cost."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from ministack.services import dynamodb as dynamodb_of_ministack

from kit.local.dynamodb.token_bucket import BURST_S, ON_DEMAND_BURST_S, Bucket
from kit.local.dynamodb.units import IndexShape, item_bytes, item_read_units, write_units
from tests.local.dynamodb_rig import (
    PAIR,
    by_owner,
    code,
    item,
    make_new_table,
    make_table,
    maximum,
    passes,
    provisioned,
    refusal,
    refused_of,
    until_refused,
)
from tests.polling import wait_until

# ---- units and buckets ----


@pytest.mark.parametrize(("size", "write", "read"), [(10, 1, 1), (1020, 1, 1), (1025, 2, 1), (4097, 5, 2)])
def test_units_are_rounded_up_to_whole_kilobytes(size, write, read):
    """Attribute names count: the two bytes of `pk`, and the rest as its value."""
    thing = {"pk": {"S": "x" * (size - 2)}}
    assert (write_units(thing), item_read_units(thing)) == (write, read)


def test_item_sizes_equal_ministacks():
    """Our function is faster and gives the same number."""
    values = [{"S": "x" * 40}, {"S": "ünïcödé"}, {"S": ""}, {"BOOL": True}, {"L": [{"N": "12"}, {"S": "é"}]}]
    values += [{"M": {"a": {"N": "-1.50"}}}, {"B": "AAECAw=="}, {"NS": ["1", "20", "300"]}, {"NULL": True}]
    numbers = ["0", "7", "10", "100", "1000", "1001", "123456789012345678", "-5", "0.5", "1E+5", "00120", "-0.0012"]
    values += [{"N": number} for number in numbers]
    for value in values:
        thing = {"pk": {"S": "1"}, "näme": value}
        assert item_bytes(thing) == dynamodb_of_ministack._item_size_bytes(thing), value


def test_an_index_costs_units_only_for_changes_of_its_entries():
    shape = IndexShape.of(
        {
            "IndexName": "i",
            "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
        ("pk",),
    )
    of_ann = {"pk": {"S": "1"}, "owner": {"S": "ann"}, "note": {"S": "x" * 3000}}
    assert shape.write_units(None, {"pk": {"S": "1"}}) == 0
    assert shape.write_units(None, of_ann) == 1
    assert shape.write_units(of_ann, {**of_ann, "note": {"S": "y"}}) == 0
    assert shape.write_units(of_ann, {**of_ann, "owner": {"S": "bob"}}) == 2
    assert shape.write_units(of_ann, None) == 1


def test_unused_capacity_is_saved_for_300_seconds():
    bucket = Bucket.idle_for(10_000, 2.0, BURST_S, now_s=0)
    assert bucket.left(0) == 600
    bucket.take(600)
    assert bucket.left(0) == 0
    assert bucket.left(10) == 20
    assert bucket.left(10_000) == 600


def test_an_on_demand_maximum_saves_no_capacity():
    bucket = Bucket.idle_for(10_000, 2.0, ON_DEMAND_BURST_S, now_s=0)
    assert bucket.left(0) == 2
    assert bucket.left(100) == 2


def test_after_a_large_request_the_next_waits_for_its_units():
    bucket = Bucket.idle_for(0, 1.0, BURST_S, now_s=0)
    bucket.take(11)
    assert bucket.left(9) < 0
    assert bucket.left(11) > 0


def test_a_lower_limit_removes_saved_capacity():
    bucket = Bucket.idle_for(10_000, 100.0, BURST_S, now_s=0)
    bucket.resize(1.0, ON_DEMAND_BURST_S, now_s=0)
    assert bucket.left(0) == 1


# ---- provisioned tables ----


def test_a_new_table_has_the_capacity_of_300_seconds_saved(dynamodb):
    """It is not throttled in its first second, but a large item uses the burst up."""
    table = make_new_table(dynamodb, **provisioned(1, 1))
    for number in range(50):
        dynamodb.put_item(TableName=table, Item=item(str(number)))
    dynamodb.put_item(TableName=table, Item=item(size=300_000))
    assert code(refusal(dynamodb.put_item, TableName=table, Item=item())) == "ProvisionedThroughputExceededException"


def test_writes_beyond_provisioned_capacity_are_refused_with_the_reason(dynamodb):
    table = make_table(dynamodb, **provisioned(5, 1))
    error = until_refused(dynamodb.put_item, TableName=table, Item=item(size=3000))
    assert code(error) == "ProvisionedThroughputExceededException"
    assert "UpdateTable API" in error["Error"]["Message"]
    (reason,) = error["ThrottlingReasons"]
    assert reason["reason"] == "TableWriteProvisionedThroughputExceeded"
    assert reason["resource"].endswith(f":table/{table}")
    assert dynamodb.get_item(TableName=table, Key={"pk": {"S": "a"}})["Item"]


def test_the_provisioned_units_per_second_are_available(dynamodb):
    table = make_table(dynamodb, **provisioned(5, 20))
    until_refused(dynamodb.put_item, TableName=table, Item=item())
    written, began = 0, time.monotonic()
    while time.monotonic() - began < 1.0:
        written += passes(dynamodb.put_item, TableName=table, Item=item())
        time.sleep(0.01)
    # Not more than the limit. A busy machine sends fewer calls, so the lower bound is loose.
    assert 5 <= written <= 20 * (time.monotonic() - began) + 2


def test_strong_reads_cost_twice_as_much_as_others(dynamodb):
    table = make_table(dynamodb)
    dynamodb.put_item(TableName=table, Item=item(size=5000))
    get = {"TableName": table, "Key": {"pk": {"S": "a"}}, "ReturnConsumedCapacity": "TOTAL"}
    assert dynamodb.get_item(**get)["ConsumedCapacity"]["CapacityUnits"] == 1.0
    assert dynamodb.get_item(**get, ConsistentRead=True)["ConsumedCapacity"]["CapacityUnits"] == 2.0


def test_reads_beyond_provisioned_capacity_are_refused(dynamodb):
    """Also where the response holds less than was read."""
    table = make_table(dynamodb, **provisioned(1, 100))
    dynamodb.put_item(TableName=table, Item=item(size=100_000))
    get = {"TableName": table, "Key": {"pk": {"S": "a"}}, "ProjectionExpression": "pk"}
    dynamodb.get_item(**get)
    (reason,) = refusal(dynamodb.get_item, **get)["ThrottlingReasons"]
    assert reason["reason"] == "TableReadProvisionedThroughputExceeded"


@pytest.mark.parametrize("operation", ["query", "scan"])
def test_a_page_costs_the_bytes_that_were_read_also_if_they_are_filtered_out(dynamodb, operation):
    table = make_table(dynamodb, **PAIR)
    for number in range(4):
        dynamodb.put_item(TableName=table, Item={**item(size=3000), "sk": {"N": str(number)}})
    request = {"TableName": table, "FilterExpression": "fat = :no", "ReturnConsumedCapacity": "TOTAL"}
    values = {":no": {"S": "no"}}
    if operation == "query":
        request["KeyConditionExpression"] = "pk = :pk"
        values[":pk"] = {"S": "a"}
    call = getattr(dynamodb, operation)
    page = call(**request, ExpressionAttributeValues=values, ConsistentRead=True)
    assert page["Items"] == []
    assert page["ConsumedCapacity"]["CapacityUnits"] == 3.0
    page = call(**request, ExpressionAttributeValues=values)
    assert page["ConsumedCapacity"]["CapacityUnits"] == 1.5


def test_a_scan_beyond_capacity_is_refused(dynamodb):
    table = make_table(dynamodb, **provisioned(1, 100))
    for number in range(8):
        dynamodb.put_item(TableName=table, Item=item(str(number), size=4000))
    assert code(until_refused(dynamodb.scan, TableName=table)) == "ProvisionedThroughputExceededException"


def test_a_failed_condition_costs_a_write(dynamodb):
    table = make_table(dynamodb, **provisioned(5, 1))
    never = {"TableName": table, "Item": item(), "ConditionExpression": "attribute_exists(pk)"}
    for _ in range(20):
        error = refusal(dynamodb.put_item, **never)
        if code(error) == "ProvisionedThroughputExceededException":
            return
        assert code(error) == "ConditionalCheckFailedException"
    raise AssertionError("never throttled")


def test_a_new_capacity_is_in_force_at_once(dynamodb):
    table = make_table(dynamodb, **provisioned(5, 1))
    until_refused(dynamodb.put_item, TableName=table, Item=item(size=9000))
    dynamodb.update_table(TableName=table, ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 1000})
    wait_until(lambda: passes(dynamodb.put_item, TableName=table, Item=item()), "writes pass again", timeout_s=2)
    for _ in range(50):
        dynamodb.put_item(TableName=table, Item=item())


def test_a_billing_mode_is_in_force_at_once(dynamodb):
    table = make_table(dynamodb, **provisioned(5, 1))
    until_refused(dynamodb.put_item, TableName=table, Item=item(size=3000))
    dynamodb.update_table(TableName=table, BillingMode="PAY_PER_REQUEST")
    for _ in range(10):
        dynamodb.put_item(TableName=table, Item=item(size=3000))
    assert code(refusal(dynamodb.update_table, TableName=table, BillingMode="PROVISIONED")) == "ValidationException"
    dynamodb.update_table(TableName=table, **provisioned(5, 1))
    error = until_refused(dynamodb.put_item, TableName=table, Item=item(size=3000))
    assert code(error) == "ProvisionedThroughputExceededException"


# ---- on-demand tables ----


def test_an_on_demand_table_has_no_limit(dynamodb):
    table = make_table(dynamodb)
    for number in range(100):
        dynamodb.put_item(TableName=table, Item=item(str(number), size=3000))
    assert dynamodb.scan(TableName=table, Select="COUNT")["Count"] == 100


def test_an_on_demand_maximum_is_enforced_described_and_removed(dynamodb):
    """The steps of the data-throttling fault."""
    table = make_table(dynamodb)
    dynamodb.put_item(TableName=table, Item=item())
    dynamodb.update_table(TableName=table, OnDemandThroughput={"MaxWriteRequestUnits": 1})
    assert dynamodb.describe_table(TableName=table)["Table"]["OnDemandThroughput"] == maximum(write=1)
    error = until_refused(dynamodb.put_item, TableName=table, Item=item())
    assert code(error) == "ThrottlingException"
    assert error["Error"]["Message"] == "Throughput exceeds the maximum OnDemandThroughput configured on table or index"
    assert error["throttlingReasons"][0]["reason"] == "TableWriteMaxOnDemandThroughputExceeded"
    dynamodb.get_item(TableName=table, Key={"pk": {"S": "a"}})
    dynamodb.update_table(TableName=table, OnDemandThroughput={"MaxWriteRequestUnits": -1})
    for _ in range(30):
        dynamodb.put_item(TableName=table, Item=item())


def test_an_on_demand_maximum_limits_reads(dynamodb):
    table = make_table(dynamodb, OnDemandThroughput={"MaxReadRequestUnits": 1})
    error = until_refused(dynamodb.get_item, TableName=table, Key={"pk": {"S": "a"}})
    assert error["throttlingReasons"][0]["reason"] == "TableReadMaxOnDemandThroughputExceeded"
    dynamodb.put_item(TableName=table, Item=item())


def test_setting_one_maximum_keeps_the_other(dynamodb):
    table = make_table(dynamodb, OnDemandThroughput={"MaxReadRequestUnits": 7})
    dynamodb.update_table(TableName=table, OnDemandThroughput={"MaxWriteRequestUnits": 9})
    described = dynamodb.describe_table(TableName=table)["Table"]
    assert described["OnDemandThroughput"] == maximum(read=7, write=9)


@pytest.mark.parametrize("units", [0, -2])
def test_a_maximum_that_aws_refuses_is_refused(dynamodb, units):
    table = make_table(dynamodb)
    error = refusal(dynamodb.update_table, TableName=table, OnDemandThroughput={"MaxWriteRequestUnits": units})
    assert code(error) == "ValidationException"


def test_partiql_is_refused_on_a_table_with_limited_capacity(dynamodb):
    table = make_table(dynamodb, OnDemandThroughput=maximum(write=1))
    error = refusal(dynamodb.execute_statement, Statement=f"SELECT * FROM \"{table}\" WHERE pk='a'")
    assert "does not meter PartiQL" in error["Error"]["Message"]


# ---- indexes ----


def owned(number: int) -> dict:
    """Return an item of the index, a different one each time, because an unchanged entry costs the index nothing."""
    return item(str(number), size=3000, owner={"S": "ann"})


def test_a_write_is_refused_when_its_index_has_no_capacity_left(dynamodb):
    """The table has capacity left, and items that are not in the index still pass."""
    throughput = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 1}
    table = make_table(dynamodb, **provisioned(50, 500), **by_owner(ProvisionedThroughput=throughput))
    error = refused_of(dynamodb.put_item, lambda n: {"TableName": table, "Item": owned(n)})
    assert code(error) == "ProvisionedThroughputExceededException"
    (reason,) = error["ThrottlingReasons"]
    assert reason["reason"] == "IndexWriteProvisionedThroughputExceeded"
    assert reason["resource"].endswith("/index/by-owner")
    dynamodb.put_item(TableName=table, Item=item("b"))
    update = {"TableName": table, "Key": {"pk": {"S": "b"}}, "ExpressionAttributeValues": {":v": {"S": "v"}}}
    dynamodb.update_item(**update, UpdateExpression="SET note = :v")
    names = {"ExpressionAttributeNames": {"#o": "owner"}, "UpdateExpression": "SET #o = :v"}
    assert code(refusal(dynamodb.update_item, **update, **names)) == "ProvisionedThroughputExceededException"


def test_an_index_has_read_capacity_of_its_own(dynamodb):
    throughput = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 100}
    table = make_table(dynamodb, **provisioned(500, 500), **by_owner(ProvisionedThroughput=throughput))
    query = {
        "TableName": table, "IndexName": "by-owner", "KeyConditionExpression": "#o = :o",
        "ExpressionAttributeNames": {"#o": "owner"}, "ExpressionAttributeValues": {":o": {"S": "ann"}},
    }  # fmt: skip
    error = until_refused(dynamodb.query, **query)
    assert error["ThrottlingReasons"][0]["reason"] == "IndexReadProvisionedThroughputExceeded"
    dynamodb.get_item(TableName=table, Key={"pk": {"S": "a"}})
    throughput = {"ReadCapacityUnits": 1000, "WriteCapacityUnits": 100}
    update = {"Update": {"IndexName": "by-owner", "ProvisionedThroughput": throughput}}
    dynamodb.update_table(TableName=table, GlobalSecondaryIndexUpdates=[update])
    wait_until(lambda: passes(dynamodb.query, **query), "queries pass again", timeout_s=2)


def test_an_index_of_an_on_demand_table_can_have_a_maximum(dynamodb):
    table = make_table(dynamodb, **by_owner())
    update = {"Update": {"IndexName": "by-owner", "OnDemandThroughput": {"MaxWriteRequestUnits": 1}}}
    dynamodb.update_table(TableName=table, GlobalSecondaryIndexUpdates=[update])
    error = refused_of(dynamodb.put_item, lambda n: {"TableName": table, "Item": owned(n)})
    assert code(error) == "ThrottlingException"
    assert error["throttlingReasons"][0]["reason"] == "IndexWriteMaxOnDemandThroughputExceeded"


# ---- batches and transactions ----


def test_items_of_a_batch_beyond_capacity_are_unprocessed(dynamodb):
    table = make_table(dynamodb, **provisioned(2, 2))
    requests = [{"PutRequest": {"Item": item(str(number))}} for number in range(25)]
    reply = dynamodb.batch_write_item(RequestItems={table: requests})
    left = reply["UnprocessedItems"][table]
    assert 0 < len(left) < 25
    assert left == requests[25 - len(left) :]
    assert dynamodb.describe_table(TableName=table)["Table"]["ItemCount"] == 25 - len(left)
    wanted = {table: {"Keys": [{"pk": {"S": str(number)}} for number in range(25)], "ConsistentRead": True}}
    reply = dynamodb.batch_get_item(RequestItems=wanted, ReturnConsumedCapacity="TOTAL")
    unread = reply["UnprocessedKeys"][table]["Keys"]
    assert reply["UnprocessedKeys"][table]["ConsistentRead"] is True
    assert 0 < len(unread) < 25
    assert reply["ConsumedCapacity"] == [{"TableName": table, "CapacityUnits": 25.0 - len(unread)}]


def test_a_batch_without_any_capacity_is_refused(dynamodb):
    table = make_table(dynamodb, **provisioned(1, 1))
    for call, request in (
        (dynamodb.batch_write_item, {table: [{"PutRequest": {"Item": item(size=9000)}}]}),
        (dynamodb.batch_get_item, {table: {"Keys": [{"pk": {"S": "a"}}], "ConsistentRead": True}}),
    ):
        error = until_refused(call, RequestItems=request)
        assert code(error) == "ProvisionedThroughputExceededException"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (provisioned(1, 1), "ProvisionedThroughputExceeded"),
        ({"OnDemandThroughput": maximum(read=1, write=1)}, "ThrottlingError"),
    ],
)
def test_a_transaction_beyond_capacity_is_cancelled_with_the_reason(dynamodb, settings, reason):
    table, other = make_table(dynamodb, **settings), make_table(dynamodb)
    put = {"Put": {"TableName": table, "Item": item(size=2000)}}
    free = {"Put": {"TableName": other, "Item": item()}}
    error = until_refused(dynamodb.transact_write_items, TransactItems=[put, free])
    assert code(error) == "TransactionCanceledException"
    assert [each["Code"] for each in error["CancellationReasons"]] == [reason, "None"]
    assert f"[{reason}, None]" in error["Error"]["Message"]
    get = {"Get": {"TableName": table, "Key": {"pk": {"S": "a"}}}}
    error = until_refused(dynamodb.transact_get_items, TransactItems=[get])
    assert [each["Code"] for each in error["CancellationReasons"]] == [reason]


def test_nothing_of_a_throttled_transaction_is_written(dynamodb):
    table, other = make_table(dynamodb, OnDemandThroughput=maximum(write=1)), make_table(dynamodb)
    until_refused(dynamodb.put_item, TableName=table, Item=item(size=9000))
    writes = [{"Put": {"TableName": name, "Item": item("z")}} for name in (other, table)]
    refusal(dynamodb.transact_write_items, TransactItems=writes)
    assert "Item" not in dynamodb.get_item(TableName=other, Key={"pk": {"S": "z"}})


# ---- CloudFormation ----


def test_a_stacks_table_is_limited_from_the_start_and_by_its_updates(cloud, dynamodb):
    name, stack = f"t-{uuid.uuid4().hex[:8]}", f"s-{uuid.uuid4().hex[:8]}"
    formation = cloud.client("cloudformation")

    def template(units: int | None) -> str:
        properties = {
            "TableName": name, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            **({"OnDemandThroughput": {"MaxWriteRequestUnits": units}} if units else {}),
        }  # fmt: skip
        return json.dumps({"Resources": {"T": {"Type": "AWS::DynamoDB::Table", "Properties": properties}}})

    formation.create_stack(StackName=stack, TemplateBody=template(1))
    formation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 0.05})
    error = until_refused(dynamodb.put_item, TableName=name, Item=item(size=2000))
    assert code(error) == "ThrottlingException"
    formation.update_stack(StackName=stack, TemplateBody=template(None))
    formation.get_waiter("stack_update_complete").wait(StackName=stack, WaiterConfig={"Delay": 0.05})
    for _ in range(20):
        dynamodb.put_item(TableName=name, Item=item(size=2000))
