"""Reads of an index lag if the table's tag says so."""

from __future__ import annotations

import time

import pytest

from kit.local.dynamodb import lag
from kit.local.dynamodb.lag import LagInvalid, RecentChanges
from tests.local.dynamodb_rig import by_owner, code, item, make_table, refusal
from tests.polling import wait_until

LAG_MS = 700
TAG = {"Key": lag.INDEX_TAG, "Value": str(LAG_MS)}


def owners_items(dynamodb, table: str, **how) -> dict[str, str]:
    """Return one owner's items in the index: pk → note."""
    found = dynamodb.query(
        TableName=table, IndexName="by-owner", KeyConditionExpression="#o = :o",
        ExpressionAttributeNames={"#o": "owner"}, ExpressionAttributeValues={":o": {"S": "ann"}}, **how,
    )["Items"]  # fmt: skip
    return {each["pk"]["S"]: each["note"]["S"] for each in found}


def owned(pk: str, note: str) -> dict:
    return item(pk, owner={"S": "ann"}, note={"S": note})


def test_an_index_is_up_to_date_without_the_tag(dynamodb):
    table = make_table(dynamodb, **by_owner())
    dynamodb.put_item(TableName=table, Item=owned("1", "new"))
    assert owners_items(dynamodb, table) == {"1": "new"}


def test_a_lagging_index_shows_old_items_and_then_catches_up(dynamodb):
    """Insert, change and delete; the table itself does not lag."""
    table = make_table(dynamodb, **by_owner(), Tags=[TAG])
    for pk in "12":
        dynamodb.put_item(TableName=table, Item=owned(pk, "old"))
    wait_until(lambda: len(owners_items(dynamodb, table)) == 2, "the index has both", timeout_s=5)
    time.sleep(LAG_MS / 1000)
    written_at = time.monotonic()
    dynamodb.put_item(TableName=table, Item=owned("1", "new"))
    dynamodb.delete_item(TableName=table, Key={"pk": {"S": "2"}})
    dynamodb.put_item(TableName=table, Item=owned("3", "new"))
    seen = owners_items(dynamodb, table)
    scanned = dynamodb.scan(TableName=table, IndexName="by-owner")["Items"]
    if time.monotonic() - written_at < LAG_MS / 1000:
        assert seen == {"1": "old", "2": "old"}
        assert {each["pk"]["S"] for each in scanned} == {"1", "2"}
    assert dynamodb.get_item(TableName=table, Key={"pk": {"S": "1"}})["Item"]["note"] == {"S": "new"}
    assert {each["pk"]["S"] for each in dynamodb.scan(TableName=table)["Items"]} == {"1", "3"}
    wait_until(lambda: owners_items(dynamodb, table) == {"1": "new", "3": "new"}, "the index caught up", timeout_s=5)
    assert time.monotonic() - written_at > LAG_MS / 1000 * 0.9


def test_the_tag_can_be_set_and_removed_at_run_time(dynamodb):
    table = make_table(dynamodb, **by_owner())
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": lag.INDEX_TAG, "Value": "60000"}])
    dynamodb.put_item(TableName=table, Item=owned("1", "new"))
    assert owners_items(dynamodb, table) == {}
    dynamodb.untag_resource(ResourceArn=arn, TagKeys=[lag.INDEX_TAG])
    assert owners_items(dynamodb, table) == {"1": "new"}


@pytest.mark.parametrize("value", ["soon", "-1", "60001"])
def test_an_invalid_lag_is_refused(dynamodb, value):
    table = make_table(dynamodb)
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    tags = [{"Key": lag.INDEX_TAG, "Value": value}]
    assert code(refusal(dynamodb.tag_resource, ResourceArn=arn, Tags=tags)) == "ValidationException"
    with pytest.raises(LagInvalid, match=value):
        lag.lag_s(tags, lag.INDEX_TAG)


def test_old_items_are_computed_from_recent_changes():
    changes = RecentChanges(5.0)
    items = {"a": {"1": {"v": 3}}, "c": {"1": {"v": 1}}}
    changes.remember(10.0, "a", "1", None)
    changes.remember(12.0, "a", "1", {"v": 2})
    changes.remember(13.0, "b", "1", {"v": 9})
    assert changes.lagging_items(items, 14.0) == {"b": {"1": {"v": 9}}, "c": {"1": {"v": 1}}}
    assert changes.lagging_items(items, 16.0) == {"a": {"1": {"v": 2}}, "b": {"1": {"v": 9}}, "c": {"1": {"v": 1}}}
    assert changes.lagging_items(items, 18.0) is items
