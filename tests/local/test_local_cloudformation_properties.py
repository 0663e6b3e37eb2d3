"""A stack whose properties the local CloudFormation would ignore fails, and leaves nothing."""

from __future__ import annotations

import copy
import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

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
    assert any("KmsColour is not served here" in reason for reason in reasons), reasons
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


@pytest.mark.parametrize(
    ("resource_type", "properties"),
    [
        ("AWS::CodeBuild::Project", {"Name": "build"}),
        ("AWS::ElastiCache::ReplicationGroup", {"ReplicationGroupDescription": "cache"}),
        ("AWS::Route53::RecordSet", {"Name": "example.com", "Type": "A"}),
        ("AWS::Athena::WorkGroup", {"Name": "group"}),
        ("AWS::KinesisFirehose::DeliveryStream", {}),
    ],
)
def test_a_type_that_nothing_serves_is_refused_before_anything_is_made(
    cloud: Any, resource_type: str, properties: dict[str, Any]
) -> None:
    """MiniStack would make a record of it, and the stack would be complete."""
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "never-made"}}
    with pytest.raises(ClientError, match=rf"{resource_type}.*not served here"):
        create(cloud, "unserved-type", {"Queue": queue, "Other": {"Type": resource_type, "Properties": properties}})
    assert cloud.client("sqs").list_queues(QueueNamePrefix="never-made").get("QueueUrls", []) == []


def test_a_type_that_aws_does_not_have_is_refused_in_its_words(cloud: Any) -> None:
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[AWS::Nobody::Knows\]$"):
        create(cloud, "unknown-type", {"Other": {"Type": "AWS::Nobody::Knows"}})


@pytest.mark.parametrize(
    ("resource_type", "properties", "reason"),
    [
        ("AWS::Events::Rule", {"ScheduleExpression": "rate(1 fortnight)"}, "'rate(1 fortnight)' is not valid"),
        ("AWS::Events::Rule", {"EventPattern": {"source": "aws.fis"}}, "Event pattern is not valid"),
        ("AWS::Events::Rule", {}, "must be specified"),
        ("AWS::Events::Rule", {"ScheduleExpression": "rate(1 minute)", "Targets": [
            {"Id": "a", "Arn": "arn:aws:sqs:us-east-1:000000000000:q", "DeadLetterConfig": {"Arn": "arn:aws:sqs:::d"}},
        ]}, "DeadLetterConfig is not served here"),
        ("AWS::Scheduler::Schedule", {"ScheduleExpression": "whenever"}, "Invalid Schedule Expression whenever"),
        ("AWS::Scheduler::Schedule", {"GroupName": "gone"}, "Schedule group gone does not exist"),
        ("AWS::Scheduler::Schedule", {"ScheduleExpressionTimezone": "Europe/Amsterdam"}, "is not served here"),
        ("AWS::S3::Bucket", {"WebsiteConfiguration": {"IndexDocument": "i"}}, "WebsiteConfiguration is not served"),
        ("AWS::Logs::SubscriptionFilter", {"LogGroupName": "g", "FilterPattern": "",
            "DestinationArn": "arn:aws:kinesis:us-east-1:000000000000:stream/s"}, "is not served here"),
    ],
)  # fmt: skip
def test_what_the_api_refuses_fails_the_stack(
    cloud: Any, resource_type: str, properties: dict[str, Any], reason: str
) -> None:
    target = {"Arn": "arn:aws:sqs:us-east-1:000000000000:q", "RoleArn": "arn:aws:iam::000000000000:role/r"}
    schedule = {"ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": target}
    given = {**(schedule if resource_type == "AWS::Scheduler::Schedule" else {}), **properties}
    _, reasons = create(cloud, f"refused-{uuid.uuid4().hex[:8]}", {"R": {"Type": resource_type, "Properties": given}})
    assert any(reason in each for each in reasons), reasons


def test_a_schedule_of_a_stack_is_the_one_of_the_template(cloud: Any) -> None:
    """Every property reaches the schedule, also in an update."""
    target = {"Arn": "arn:aws:sqs:us-east-1:000000000000:q", "RoleArn": "arn:aws:iam::000000000000:role/r"}
    schedule = {"Name": "of-stack", "ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": target, "EndDate": "2030-01-01T00:00:00Z"}  # fmt: skip
    resource = {"Type": "AWS::Scheduler::Schedule", "Properties": schedule}
    cloudformation, reasons = create(cloud, "schedule", {"S": resource})
    assert reasons == []
    scheduler = cloud.client("scheduler")
    assert scheduler.get_schedule(Name="of-stack")["EndDate"].year == 2030
    schedule["ScheduleExpression"] = "rate(2 hours)"
    cloudformation.update_stack(StackName="schedule", TemplateBody=json.dumps({"Resources": {"S": resource}}))
    waiter = cloudformation.get_waiter("stack_update_complete")
    waiter.wait(StackName="schedule", WaiterConfig={"Delay": 0.2, "MaxAttempts": 50})
    assert scheduler.get_schedule(Name="of-stack")["ScheduleExpression"] == "rate(2 hours)"
