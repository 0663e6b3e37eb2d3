"""Global tables: replication lag, the last writer, and the FIS action that pauses replication."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import pytest

from kit.local.dynamodb.replication import LAG_S, STAMPS_MAX, WAITING_MAX, Replication
from tests.local.dynamodb_rig import make_table
from tests.local.fis_rig import FisRig
from tests.polling import wait_until, wait_until_async

pytestmark = pytest.mark.slow

HOME, AWAY = "us-east-1", "eu-west-1"
# Longer than the lag: a write that is not paused has been replicated by then.
SETTLED_S = LAG_S[1] + 0.3


@pytest.fixture(scope="module")
def home(cloud):
    return cloud.client("dynamodb", region=HOME)


@pytest.fixture(scope="module")
def away(cloud):
    return cloud.client("dynamodb", region=AWAY)


@pytest.fixture
def table(home) -> str:
    name = make_table(home)
    home.update_table(TableName=name, ReplicaUpdates=[{"Create": {"RegionName": AWAY}}])
    return name


def write(dynamodb, table: str, value: str, pk: str = "a") -> None:
    dynamodb.put_item(TableName=table, Item={"pk": {"S": pk}, "v": {"S": value}})


def read(dynamodb, table: str, pk: str = "a") -> str | None:
    found = dynamodb.get_item(TableName=table, Key={"pk": {"S": pk}}, ConsistentRead=True).get("Item")
    return found["v"]["S"] if found else None


def test_a_write_reaches_the_other_region_later(home, away, table):
    written_at = time.monotonic()
    write(home, table, "one")
    first_look = read(away, table)
    if time.monotonic() - written_at < LAG_S[0]:
        assert first_look is None
    wait_until(lambda: read(away, table) == "one", "replicated")
    assert time.monotonic() - written_at > LAG_S[0] * 0.9


def test_deletes_and_transactions_are_replicated(home, away, table):
    write(home, table, "one")
    put = {"Put": {"TableName": table, "Item": {"pk": {"S": "b"}, "v": {"S": "two"}}}}
    home.transact_write_items(TransactItems=[put])
    wait_until(lambda: (read(away, table), read(away, table, "b")) == ("one", "two"), "both are there")
    home.delete_item(TableName=table, Key={"pk": {"S": "a"}})
    wait_until(lambda: read(away, table) is None, "the delete is there")


def test_the_last_writer_wins_in_both_regions(home, away, table):
    """Both Regions write before a write is replicated."""
    write(home, table, "first")
    write(away, table, "last")
    wait_until(lambda: read(home, table) == "last", "home heard of it")
    time.sleep(SETTLED_S)
    assert (read(home, table), read(away, table)) == ("last", "last")


def test_a_new_replica_has_all_items(home, away):
    table = make_table(home)
    write(home, table, "one")
    home.update_table(TableName=table, ReplicaUpdates=[{"Create": {"RegionName": AWAY}}])
    assert read(away, table) == "one"


def test_the_replicas_stream_has_the_replicated_writes(cloud, home, away, table):
    write(home, table, "one")
    wait_until(lambda: read(away, table) == "one", "replicated")
    streams = cloud.client("dynamodbstreams", region=AWAY)
    arn = away.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    records = streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert [each["eventName"] for each in records] == ["INSERT"]


def test_a_stacks_global_table_has_its_replicas(cloud, home, away):
    name, stack = f"t-{uuid.uuid4().hex[:8]}", f"s-{uuid.uuid4().hex[:8]}"
    properties = {
        "TableName": name, "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "Replicas": [{"Region": HOME}, {"Region": AWAY}],
    }  # fmt: skip
    body = json.dumps({"Resources": {"T": {"Type": "AWS::DynamoDB::GlobalTable", "Properties": properties}}})
    formation = cloud.client("cloudformation")
    formation.create_stack(StackName=stack, TemplateBody=body)
    formation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 0.05})
    write(home, name, "one")
    wait_until(lambda: read(away, name) == "one", "replicated")
    formation.delete_stack(StackName=stack)
    formation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 0.05})
    assert name not in away.list_tables()["TableNames"] + home.list_tables()["TableNames"]


# ---- the FIS action ----


def pause(table_arn: str, seconds: float) -> dict[str, Any]:
    """Return the settings of a template that pauses a table's replication."""
    action = {
        "actionId": "aws:dynamodb:global-table-pause-replication",
        "parameters": {"duration": f"PT{seconds:g}S"},
        "targets": {"Tables": "Tables"},
    }
    target = {"resourceType": "aws:dynamodb:global-table", "resourceArns": [table_arn], "selectionMode": "ALL"}
    return {"actions": {"pause": action}, "targets": {"Tables": target}}


def arn_of(dynamodb, table: str) -> str:
    return dynamodb.describe_table(TableName=table)["Table"]["TableArn"]


def in_force(rig: FisRig, experiment_id: str) -> bool:
    return rig.get(experiment_id)["actions"]["pause"]["state"]["status"] == "running"


def test_a_pause_holds_both_directions_and_a_stop_lets_them_catch_up(rig, home, away, table):
    write(home, table, "before")
    wait_until(lambda: read(away, table) == "before", "replicated")
    experiment_id = rig.running(**pause(arn_of(home, table), 60))
    wait_until(lambda: in_force(rig, experiment_id), "paused")
    time.sleep(0.1)
    for number in range(20):
        write(home, table, str(number), pk="from-home")
    write(away, table, "x", pk="from-away")
    time.sleep(SETTLED_S)
    assert (read(away, table, "from-home"), read(home, table, "from-away")) == (None, None)
    rig.fis.stop_experiment(id=experiment_id)
    assert rig.end(experiment_id)["state"]["status"] == "stopped"
    wait_until(lambda: (read(away, table, "from-home"), read(home, table, "from-away")) == ("19", "x"), "caught up")


def test_a_pause_ends_with_its_duration(rig, home, away, table):
    arn = arn_of(home, table)
    experiment_id = rig.running(**pause(arn, 0.5))
    write(home, table, "one")
    assert rig.end(experiment_id)["state"]["status"] == "completed"
    wait_until(lambda: read(away, table) == "one", "caught up")


def test_two_pauses_of_one_table_end_with_the_last(rig, home, away, table):
    arn = arn_of(home, table)
    long, short = rig.running(**pause(arn, 60)), rig.running(**pause(arn, 0.2))
    assert rig.end(short)["state"]["status"] == "completed"
    write(home, table, "one")
    time.sleep(SETTLED_S)
    assert read(away, table) is None
    rig.fis.stop_experiment(id=long)
    wait_until(lambda: read(away, table) == "one", "caught up")


def test_a_table_in_one_region_is_not_a_target(rig, home):
    failed = rig.run(**pause(arn_of(home, make_table(home)), 5))
    assert failed["state"]["status"] == "failed"
    assert "does not exist" in failed["state"]["reason"]


# ---- bounds, in this process ----


def test_the_pending_writes_of_a_long_pause_are_bounded_by_the_number_of_items():
    """With very many pending writes, only the latest of each item is kept."""
    from ministack.services import dynamodb

    async def scenario() -> tuple[int, dict[str, str]]:
        replicas = Replication(1, lambda *_: None)
        replicas.start()
        key = [{"AttributeName": "pk", "KeyType": "HASH"}]
        names = [{"AttributeName": "pk", "AttributeType": "S"}]
        create = {
            "TableName": "waiting",
            "KeySchema": key,
            "AttributeDefinitions": names,
            "BillingMode": "PAY_PER_REQUEST",
        }
        dynamodb._create_table(create)
        dynamodb._update_table({"TableName": "waiting", "ReplicaUpdates": [{"Create": {"RegionName": AWAY}}]})
        record = dynamodb._tables["waiting"]
        replicas.pause(record["TableArn"], "test")
        for number in range(WAITING_MAX + 100):
            new = {"pk": {"S": str(number % 3)}, "v": {"S": str(number)}}
            replicas.send(record, "MODIFY", None, new)
        (link,) = replicas._links.values()
        waiting = len(link.waiting)
        replicas.resume(record["TableArn"], "test")
        away = dynamodb._tables.get_scoped("000000000000", AWAY, "waiting") or {}
        await wait_until_async(lambda: not link.waiting, "nothing waits")
        replicas.stop()
        return waiting, {pk: bucket["__no_sort__"]["v"]["S"] for pk, bucket in away["items"].items()}

    try:
        waiting, there = asyncio.run(scenario())
    finally:
        dynamodb.reset()
    assert waiting <= 3 + 100
    last = WAITING_MAX + 99
    assert there == {str(number % 3): str(number) for number in range(last - 2, last + 1)}


def test_a_resume_without_a_pause_changes_nothing():
    """As after a restart of the server, which has no pauses."""
    replicas = Replication(1, lambda *_: None)
    replicas.resume(f"arn:aws:dynamodb:{HOME}:000000000000:table/gone", "nobody")
    assert (replicas._pauses, replicas._links) == ({}, {})


def test_old_timestamps_of_last_writes_are_dropped():
    replicas = Replication(1, lambda *_: None)
    for number in range(STAMPS_MAX + 10):
        replicas._stamp(("a", HOME, "t"), (str(number), "__no_sort__"), (float(number), HOME))
    assert len(replicas._stamps) <= STAMPS_MAX
    assert (("a", HOME, "t"), str(STAMPS_MAX + 9), "__no_sort__") in replicas._stamps
