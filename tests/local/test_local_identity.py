"""A real task's AWS calls under a real experiment: the server knows who is calling, and cuts only that."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import pytest

WAIT_S_MAX = 30.0
# Longer than the task's own time-out: whatever was in flight has been given up.
SETTLE_S = 0.8

# Counts its own successes in DynamoDB, as fast as it can, giving each call up after half a second.
PROGRAM = """
import os, time, boto3, botocore.exceptions as e
from botocore.config import Config
c = boto3.client("dynamodb", config=Config(read_timeout=0.5, connect_timeout=0.5, retries={"total_max_attempts": 1}))
n = 0
while True:
    n += 1
    try: c.put_item(TableName=os.environ["TABLE"], Item={"pk": {"S": f"{n:06d}"}})
    except (e.BotoCoreError, e.ClientError): pass
    time.sleep(0.02)
"""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def caller(cloud):
    """A running task in a subnet of its own: (subnet's ARN, how many calls were applied)."""
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
    task = ecs.run_task(cluster=name, taskDefinition=name, networkConfiguration=network)["tasks"][0]["taskArn"]
    arn = f"arn:aws:ec2:us-east-1:000000000000:subnet/{subnet['SubnetId']}"

    def applied() -> int:
        return dynamodb.scan(TableName=name, Select="COUNT")["Count"]

    until(lambda: applied() > 3)
    yield arn, applied
    ecs.stop_task(cluster=name, task=task)


def test_a_cut_subnet_stops_its_tasks_calls_and_nobody_elses(cloud, caller):
    """No call that was given up is applied later, and all is well again after the experiment."""
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

    until(lambda: state() == "running")
    time.sleep(SETTLE_S)
    during = applied()  # this call itself is the operator's: it passes
    time.sleep(SETTLE_S)
    assert applied() == during
    fis.stop_experiment(id=experiment)
    until(lambda: state() not in ("running", "stopping"))
    until(lambda: applied() > during + 3)
