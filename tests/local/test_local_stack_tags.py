"""CloudFormation gives a stack's tags to its resources; experiments choose their targets by them."""

from __future__ import annotations

import json
from typing import Any

import pytest

STACK = "stack-tags"
RUN = "tagged-run"
TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.77.0.0/16"}},
        "Subnet": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {
                "VpcId": {"Ref": "Vpc"},
                "CidrBlock": "10.77.1.0/24",
                "Tags": [{"Key": "Component", "Value": "app-subnet"}, {"Key": "App", "Value": "Own"}],
            },
        },
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            },
        },
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Definition": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {"Family": STACK, "ContainerDefinitions": [{"Name": "main", "Image": "x", "Memory": 64}]},
        },
        "Experiment": {
            "Type": "AWS::FIS::ExperimentTemplate",
            "Properties": {
                "Description": "waits",
                "RoleArn": "arn:aws:iam::000000000000:role/fis",
                "Targets": {},
                "Actions": {"Wait": {"ActionId": "aws:fis:wait", "Parameters": {"duration": "PT1S"}}},
                "StopConditions": [{"Source": "none"}],
                "Tags": {"Name": "own"},
            },
        },
    }
}


@pytest.fixture(scope="module")
def made(cloud) -> dict[str, str]:
    """Create the stack. Return its resources: logical id → physical id."""
    cloudformation = cloud.client("cloudformation")
    cloudformation.create_stack(
        StackName=STACK,
        TemplateBody=json.dumps(TEMPLATE),
        Tags=[{"Key": "App", "Value": "Stack"}, {"Key": "RunId", "Value": RUN}],
    )
    waiter = cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    found = cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
    return {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in found}


def tags_of(cloud, kind: str, physical: str) -> dict[str, str]:
    """Return a resource's tags from its own service."""
    if kind == "Subnet":
        found = cloud.client("ec2").describe_subnets(SubnetIds=[physical])["Subnets"][0]["Tags"]
        return {tag["Key"]: tag["Value"] for tag in found}
    if kind == "Table":
        dynamodb = cloud.client("dynamodb")
        arn = dynamodb.describe_table(TableName=physical)["Table"]["TableArn"]
        return {tag["Key"]: tag["Value"] for tag in dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"]}
    if kind == "Queue":
        return cloud.client("sqs").list_queue_tags(QueueUrl=physical)["Tags"]
    if kind == "Definition":
        found = cloud.client("ecs").describe_task_definition(taskDefinition=physical, include=["TAGS"])["tags"]
        return {tag["key"]: tag["value"] for tag in found}
    return cloud.client("fis").get_experiment_template(id=physical)["experimentTemplate"]["tags"]


@pytest.mark.parametrize("kind", ["Subnet", "Table", "Queue", "Definition", "Experiment"])
def test_a_resource_gets_the_tags_of_its_stack(cloud, made: dict[str, str], kind: str):
    assert tags_of(cloud, kind, made[kind])["RunId"] == RUN


def test_a_tag_of_the_template_overrides_the_stacks(cloud, made: dict[str, str]):
    tags = tags_of(cloud, "Subnet", made["Subnet"])
    assert (tags["App"], tags["Component"]) == ("Own", "app-subnet")


def test_the_stacks_tags_are_added_to_a_map_of_tags(cloud, made: dict[str, str]):
    tags = tags_of(cloud, "Experiment", made["Experiment"])
    assert (tags["Name"], tags["App"]) == ("own", "Stack")
