"""A stack whose properties the local CloudFormation would ignore fails, and leaves nothing."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from kit.local.cloudformation.harmless import is_harmless
from kit.local.cloudformation.watched import Watched


@pytest.mark.parametrize(
    ("read", "unread"),
    [
        (lambda given: given.get("A"), ["B"]),
        (lambda given: given["A"], ["B"]),
        (lambda given: given.pop("B"), ["A"]),
        (lambda given: given.setdefault("A", 1), ["B"]),
        (lambda given: "A" in given, ["A", "B"]),
        (lambda given: {**given}, []),
        (lambda given: dict(given), []),
        (lambda given: given.copy(), []),
        (lambda given: list(given), []),
        (lambda given: given.items(), []),
        (lambda given: given.values(), []),
        (lambda given: json.dumps(given), []),
        (lambda given: copy.deepcopy(given), []),
        (lambda given: given == {}, ["A", "B"]),
    ],
)
def test_reading_a_property_is_noticed(read: Any, unread: list[str]) -> None:
    given = Watched({"A": 1, "B": 2})
    read(given)
    assert [name for name in unread if name in given.unread()] == unread
    assert [name for name in given.unread() if name not in unread] == []


@pytest.mark.parametrize("value", [None, "", [], {}])
def test_an_empty_value_asks_for_nothing(value: Any) -> None:
    assert is_harmless("AWS::SQS::Queue", "Anything", value)


def test_a_value_is_harmless_only_if_the_table_says_so() -> None:
    assert not is_harmless("AWS::SQS::Queue", "Anything", "x")
    assert is_harmless("AWS::ECS::TaskDefinition", "EnableFaultInjection", "true")


def create(cloud: Any, name: str, resources: dict[str, Any]) -> tuple[Any, list[str]]:
    """Create a stack. Return its client and the reasons of failed resources."""
    cloudformation = cloud.client("cloudformation")
    body = json.dumps({"Resources": resources})
    cloudformation.create_stack(StackName=name, TemplateBody=body, OnFailure="ROLLBACK")
    try:
        waiter = cloudformation.get_waiter("stack_create_complete")
        waiter.wait(StackName=name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 50})
    except WaiterError:
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        failed = [each for each in events if each["ResourceStatus"] == "CREATE_FAILED"]
        return cloudformation, [each["ResourceStatusReason"] for each in failed]
    return cloudformation, []


def test_a_property_that_nothing_reads_fails_the_stack_and_leaves_nothing(cloud) -> None:
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "unread-property", "KmsColour": "blue"}}
    _, reasons = create(cloud, "unread-property", {"Queue": queue})
    assert any("KmsColour of AWS::SQS::Queue is not served here" in reason for reason in reasons), reasons
    listed = cloud.client("sqs").list_queues(QueueNamePrefix="unread-property")
    assert listed.get("QueueUrls", []) == []


def test_a_type_that_would_make_nothing_fails_the_stack(cloud) -> None:
    stack_set = {"Type": "AWS::CloudFormation::HookVersion", "Properties": {"TypeName": "a"}}
    with pytest.raises(Exception, match="AWS::CloudFormation::HookVersion"):
        _, reasons = create(cloud, "placeholder-type", {"Hook": stack_set})
        assert not reasons, reasons


def test_a_table_of_a_stack_has_its_time_to_live_and_its_recovery(cloud) -> None:
    table = {
        "TableName": "expiring",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": "true"},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    }
    cloudformation, reasons = create(cloud, "expiring", {"T": {"Type": "AWS::DynamoDB::Table", "Properties": table}})
    assert reasons == []
    dynamodb = cloud.client("dynamodb")
    described = dynamodb.describe_time_to_live(TableName="expiring")["TimeToLiveDescription"]
    assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    backups = dynamodb.describe_continuous_backups(TableName="expiring")["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    del table["TimeToLiveSpecification"]
    body = json.dumps({"Resources": {"T": {"Type": "AWS::DynamoDB::Table", "Properties": table}}})
    cloudformation.update_stack(StackName="expiring", TemplateBody=body)
    waiter = cloudformation.get_waiter("stack_update_complete")
    waiter.wait(StackName="expiring", WaiterConfig={"Delay": 0.2, "MaxAttempts": 50})
    described = dynamodb.describe_time_to_live(TableName="expiring")["TimeToLiveDescription"]
    assert described["TimeToLiveStatus"] == "DISABLED"
