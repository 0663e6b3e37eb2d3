"""The memory of a standing local AWS reaches a plateau: resources that are gone leave next to nothing."""

from __future__ import annotations

import time
import uuid
from typing import Any

import psutil
import pytest

from tests.polling import wait_for_value

TEMPLATE = """
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
  Queue: {Type: "AWS::SQS::Queue"}
  Group: {Type: "AWS::Logs::LogGroup"}
Outputs:
  Table: {Value: !Ref Table}
  Queue: {Value: !Ref Queue}
"""
TRANSACTIONS = 400
ITEM_BYTES = 4_000
POINTS = 3_000
CYCLES_BEFORE, CYCLES = 6, 12
# Without the bounds a cycle leaves 3.7 MB: 400 requests of 4 kB and 3,000 points as dicts, and the stack.
GROWTH_MB_MAX = 0.6

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def cycle(cloud: Any) -> None:
    """Create a stack, use it, and delete it."""
    cloudformation, dynamodb = cloud.client("cloudformation"), cloud.client("dynamodb")
    name = f"memory-{uuid.uuid4().hex[:8]}"
    stack_id = cloudformation.create_stack(StackName=name, TemplateBody=TEMPLATE + "#" * 40_000)["StackId"]

    def stack() -> Any:
        return cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]

    wait_for_value(lambda: stack()["StackStatus"], "CREATE_COMPLETE")
    table = next(each["OutputValue"] for each in stack()["Outputs"] if each["OutputKey"] == "Table")
    for number in range(TRANSACTIONS):
        item = {"pk": {"S": str(number % 10)}, "text": {"S": "x" * ITEM_BYTES}}
        dynamodb.transact_write_items(
            TransactItems=[{"Put": {"TableName": table, "Item": item}}], ClientRequestToken=uuid.uuid4().hex
        )
    values = [float(number) for number in range(100)]
    for _ in range(POINTS // len(values)):
        datum = {"MetricName": "Latency", "Values": values, "Timestamp": time.time()}
        cloud.client("cloudwatch").put_metric_data(Namespace="Memory", MetricData=[datum])
    cloudformation.delete_stack(StackName=name)
    wait_for_value(lambda: stack()["StackStatus"], "DELETE_COMPLETE")


def test_stacks_that_come_and_go_leave_no_memory_behind(start_cloud: Any):
    cloud = start_cloud()
    server = psutil.Process(cloud.pid)
    for _ in range(CYCLES_BEFORE):
        cycle(cloud)
    before = server.memory_info().rss
    for _ in range(CYCLES):
        cycle(cloud)
    growth_mb = (server.memory_info().rss - before) / CYCLES / 1e6
    assert growth_mb < GROWTH_MB_MAX, f"{growth_mb:.2f} MB a cycle"
