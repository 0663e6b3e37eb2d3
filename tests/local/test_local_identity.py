"""Test that an experiment cuts the AWS calls of a real task, and no others."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest

from tests.polling import wait_until

# Longer than the task's own timeout, so that it has given up every call in flight.
SETTLE_S = 0.8

PROGRAM = Path(__file__).with_name("identity_caller.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def caller(cloud):
    """Run a task in a subnet of its own. Yields the subnet's ARN and a function that counts applied calls."""
    name = f"identity-{uuid.uuid4().hex[:6]}"
    ec2, ecs, dynamodb = cloud.client("ec2"), cloud.client("ecs"), cloud.client("dynamodb")
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.8.1.0/24", AvailabilityZone="us-east-1b")["Subnet"]
    dynamodb.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )  # fmt: skip
    ecs.create_cluster(clusterName=name)
    ecs.register_task_definition(
        family=name, networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512",
        containerDefinitions=[{
            "name": "main", "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/paperbroker-base:latest",
            "command": ["python", "-c", PROGRAM], "environment": [{"name": "TABLE", "value": name}],
        }],
    )  # fmt: skip
    network = {"awsvpcConfiguration": {"subnets": [subnet["SubnetId"]]}}
    run = {"taskDefinition": name, "networkConfiguration": network, "launchType": "FARGATE"}
    task = ecs.run_task(cluster=name, **run)["tasks"][0]["taskArn"]
    arn = f"arn:aws:ec2:us-east-1:000000000000:subnet/{subnet['SubnetId']}"

    def applied() -> int:
        return dynamodb.scan(TableName=name, Select="COUNT")["Count"]

    wait_until(lambda: applied() > 3, "the task's calls are applied")
    yield arn, applied
    ecs.stop_task(cluster=name, task=task)


def test_a_cut_subnet_stops_the_calls_of_its_tasks_only(cloud, caller):
    """Abandoned calls are not applied later, and calls succeed again after the experiment."""
    subnet, applied = caller
    fis = cloud.client("fis")
    template = fis.create_experiment_template(
        description="cut", roleArn="arn:aws:iam::000000000000:role/fis", stopConditions=[{"source": "none"}],
        targets={"s": {"resourceType": "aws:ec2:subnet", "resourceArns": [subnet], "selectionMode": "ALL"}},
        actions={"Cut": {
            "actionId": "aws:network:disrupt-connectivity", "targets": {"Subnets": "s"},
            "parameters": {"duration": "PT5M", "scope": "all"},
        }},
    )["experimentTemplate"]["id"]  # fmt: skip
    experiment = fis.start_experiment(experimentTemplateId=template)["experiment"]["id"]

    def state() -> str:
        found = fis.get_experiment(id=experiment)["experiment"]
        assert found["state"]["status"] != "failed", found["state"]
        return found["actions"]["Cut"]["state"]["status"]

    wait_until(lambda: state() == "running", "the action runs")
    time.sleep(SETTLE_S)
    during = applied()  # The operator's own call is not cut.
    time.sleep(SETTLE_S)
    assert applied() == during
    fis.stop_experiment(id=experiment)
    wait_until(lambda: state() not in ("running", "stopping"), "the action has ended")
    wait_until(lambda: applied() > during + 3, "the calls are applied again")
