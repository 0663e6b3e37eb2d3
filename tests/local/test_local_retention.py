"""What the local AWS keeps of the past is bounded, and nothing that somebody reads is lost."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from ministack.core.responses import request_scope
from ministack.services import cloudwatch

from kit.local import retention
from kit.local.cloudwatch import samples
from kit.local.cloudwatch.points import Points
from kit.local.cloudwatch.samples import Samples
from kit.local.processes import Process
from tests.polling import wait_for_value

EMPTY = '{"Resources": {"Wait": {"Type": "AWS::CloudFormation::WaitConditionHandle"}}}'
DICT_SHARE_MAX = 0.15


def point(number: int, **members: object) -> dict[str, object]:
    named = {"Timestamp": 1000.0 + number, "Unit": "Count", "Dimensions": {"Env": "x"}, "Value": number / 7}
    return {**named, "Count": 1.0 + number, **members}


def test_points_read_as_they_were_written():
    """Units differ, a statistic set has no count, and a single value has none either."""
    written = [point(0), point(1, Unit="Milliseconds"), {**point(2), "_stat": {"Sum": 1.0}}, point(3)]
    del written[2]["Count"], written[3]["Count"]
    points = Points(written)
    assert list(points) == written and len(points) == 4 and points[2] == written[2]


def test_points_take_a_fraction_of_the_memory_of_dicts():
    written = [point(number) for number in range(1_000)]
    points = Points(written)
    arrays = [getattr(points, name) for name in ("_at", "_values", "_counts", "_unit_of")]
    numbers = {id(value): sys.getsizeof(value) for each in written for value in (each["Timestamp"], each["Value"])}
    dicts = sum(map(sys.getsizeof, written)) + sum(numbers.values())
    assert sum(map(sys.getsizeof, arrays)) < DICT_SHARE_MAX * dicts


def test_only_the_newest_deleted_stacks_are_kept():
    stacks, events = {}, {}
    for number in range(retention.DELETED_STACKS_MAX + 3):
        for region in ("us-east-1", "eu-west-1"):
            stacks["0", region, f"s{number}"] = {"StackStatus": "DELETE_COMPLETE", "StackId": f"id{number}"}
            events["0", region, f"id{number}"] = ["event"]
    stacks["0", "us-east-1", "live"] = {"StackStatus": "CREATE_COMPLETE", "StackId": "live"}
    retention.forget_deleted_stacks(stacks, events)
    kept = [name for _, region, name in stacks if region == "us-east-1"]
    assert kept == [*(f"s{number}" for number in range(3, 8)), "live"]
    assert len(events) == 2 * retention.DELETED_STACKS_MAX


def test_a_deleted_stack_can_be_described_until_later_ones_replace_it(cloud):
    cloudformation = cloud.client("cloudformation")
    ids: list[str] = []

    def status(stack_id: str) -> str:
        return cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"]

    for number in range(retention.DELETED_STACKS_MAX + 1):
        name = f"retention-{number}"
        ids.append(cloudformation.create_stack(StackName=name, TemplateBody=EMPTY)["StackId"])
        wait_for_value(lambda: status(ids[-1]), "CREATE_COMPLETE")
        cloudformation.delete_stack(StackName=name)
        wait_for_value(lambda: status(ids[-1]), "DELETE_COMPLETE")
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName=ids[0])


def test_a_transactions_token_still_tells_the_same_request_from_another(cloud):
    """Only a digest of the request is kept."""
    dynamodb, table = cloud.client("dynamodb"), f"retention-{time.time_ns()}"
    dynamodb.create_table(
        TableName=table, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )  # fmt: skip

    def write(value: str) -> None:
        update = {
            "TableName": table, "Key": {"pk": {"S": "a"}}, "UpdateExpression": "ADD n :v",
            "ExpressionAttributeValues": {":v": {"N": value}},
        }  # fmt: skip
        dynamodb.transact_write_items(TransactItems=[{"Update": update}], ClientRequestToken="token")

    write("1")
    write("1")
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        write("2")
    assert dynamodb.get_item(TableName=table, Key={"pk": {"S": "a"}})["Item"]["n"] == {"N": "1"}
    dynamodb.delete_table(TableName=table)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        write("1")


def test_the_index_of_a_metric_that_nothing_reads_is_dropped_and_made_anew(monkeypatch: pytest.MonkeyPatch):
    metrics = {("0", "us-east-1", ("N", "m", cloudwatch._dims_key({}))): Points([point(0), point(30)])}
    now = [1000.0]
    monkeypatch.setattr(cloudwatch._metrics, "_data", metrics)
    monkeypatch.setattr(samples.time, "time", lambda: now[0])
    read = Samples()

    def sums() -> dict[int, float]:
        with request_scope("0", "us-east-1"):
            return read.read(
                namespace="N", name="m", dimensions={}, statistic="SampleCount", period_s=60, start=960, end=1080
            )

    first = sums()
    assert first
    read.evict()
    assert len(read._indexes) == 1
    now[0] += samples.INDEX_IDLE_S + 1
    read.evict()
    assert len(read._indexes) == 0
    assert sums() == first == {960: 1.0, 1020: 31.0}


def test_a_container_that_has_ended_keeps_its_exit_code_and_no_pipe(tmp_path: Path):
    async def run() -> tuple[int | None, int | None, list[int], bool]:
        process = await Process.spawn(
            [sys.executable, "-c", "import time; print('x', flush=True); time.sleep(60)"],
            env={},
            cwd=tmp_path,
            marker="m=1",
        )
        assert await process.output.readline() == b"x\n"
        process.release()
        running = process.exit_code
        process.kill()
        await process.wait()
        process.release()
        assert process._child.stdout is None
        return running, await process.wait(), process.pids(), await process.stop(1.0)

    assert asyncio.run(run()) == (None, 137, [], True)


def test_only_idle_metrics_beyond_the_bound_are_dropped_oldest_first(monkeypatch: pytest.MonkeyPatch):
    now = 1_000_000.0
    ages_s = {"new": 1.0, "older": 2_000.0, "oldest": 3_000.0, "old": 1_500.0}
    metrics = {
        ("0", "us-east-1", name): Points([{"Timestamp": now - age, "Value": 1.0}]) for name, age in ages_s.items()
    }
    monkeypatch.setattr(cloudwatch._metrics, "_data", metrics)
    monkeypatch.setattr(samples, "METRICS_MAX", 2)
    monkeypatch.setattr(samples.time, "time", lambda: now)
    Samples().evict()
    assert sorted(name for *_, name in metrics) == ["new", "old"]
    monkeypatch.setattr(samples, "METRICS_MAX", 0)
    Samples().evict()
    assert [name for *_, name in metrics] == ["new"]
