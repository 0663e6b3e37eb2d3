"""Test the loss of an Availability Zone: its tasks end and a subnet's traffic hangs, then both recover."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ministack.services import ec2

from kit.local.endpoints import ALB, AWS, CLIENT, TASK, Endpoint
from kit.local.fis.actions import UNDO, ActionContext
from kit.local.fis.actions.network_disrupt_connectivity import DisruptConnectivity
from kit.local.fis.journal import FILE_NAME, Journal
from kit.local.fis.resources import Resource
from kit.local.links import Links
from tests.local.fis_rig import FisRig, disrupt, subnets_by_tag
from tests.polling import wait_until

HEART = Path(__file__).with_name("fis_heart.py")
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/paperbroker-base:latest"
TASKS_UP_S_MAX = 25.0


class Hearts:
    """A service of one task a zone whose tasks write heartbeats to a table."""

    def __init__(self, rig: FisRig) -> None:
        self.rig = rig
        self.tag, self.subnets = rig.subnets("ab")
        self.ecs, self.dynamodb = rig.cloud.client("ecs"), rig.cloud.client("dynamodb")
        self.dynamodb.create_table(
            TableName=self.tag, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        )  # fmt: skip
        self.ecs.create_cluster(clusterName=self.tag)
        container = {
            "name": "heart", "image": IMAGE, "command": ["python", "-c", HEART.read_text()], "essential": True,
            "environment": [{"name": "TABLE", "value": self.tag}], "stopTimeout": 2,
        }  # fmt: skip
        definition = self.ecs.register_task_definition(
            family=self.tag, networkMode="awsvpc", cpu="256", memory="512", containerDefinitions=[container]
        )["taskDefinition"]["taskDefinitionArn"]
        self.ecs.create_service(
            cluster=self.tag, serviceName="heart", taskDefinition=definition, desiredCount=2, launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": self.subnets}},
            tags=[{"key": "Group", "value": self.tag}], propagateTags="SERVICE",
        )  # fmt: skip

    def close(self) -> None:
        self.ecs.delete_service(cluster=self.tag, service="heart", force=True)

    def tasks(self) -> list[dict[str, Any]]:
        arns = self.ecs.list_tasks(cluster=self.tag)["taskArns"]
        return self.ecs.describe_tasks(cluster=self.tag, tasks=arns)["tasks"] if arns else []

    def stopped_reason(self, arn: str) -> str | None:
        return self.ecs.describe_tasks(cluster=self.tag, tasks=[arn])["tasks"][0].get("stoppedReason")

    def zones_beating_since(self, since: float) -> set[str]:
        """Return the zones whose current task has written since that time."""
        items = self.dynamodb.scan(TableName=self.tag, ConsistentRead=True)["Items"]
        alive = {item["pk"]["S"] for item in items if float(item["at"]["N"]) > since}
        return {task["availabilityZone"][-1] for task in self.tasks() if task["taskArn"].rpartition("/")[2] in alive}


@pytest.mark.slow
def test_an_availability_zone_is_lost_and_comes_back(rig: FisRig) -> None:
    """Its tasks are stopped by the experiment and its traffic hangs.

    The other zone keeps working, and at the end both zones do.
    """
    hearts = Hearts(rig)
    try:
        wait_until(lambda: hearts.zones_beating_since(0) == {"a", "b"}, "both zones beat", TASKS_UP_S_MAX)
        before = {task["availabilityZone"]: task["taskArn"] for task in hearts.tasks()}
        zone = [{"path": "AvailabilityZone", "values": ["us-east-1a"]}]
        by_tag = {"resourceTags": {"Group": hearts.tag}, "selectionMode": "ALL", "filters": zone}
        tasks = {"resourceType": "aws:ecs:task", **by_tag}
        kill = {"actionId": "aws:ecs:stop-task", "targets": {"Tasks": "Tasks"}}
        experiment_id = rig.running(
            actions={"kill": kill, "cut": disrupt(seconds=4)},
            targets={"Tasks": tasks, "Subnets": subnets_by_tag(hearts.tag, filters=zone)},
        )
        cut_at = time.time()
        # An experiment runs before StopTask has answered.
        reason = f"Task stopped by AWS FIS experiment {experiment_id}"
        wait_until(lambda: hearts.stopped_reason(before["us-east-1a"]) == reason, reason, TASKS_UP_S_MAX)
        time.sleep(2.5)
        assert hearts.zones_beating_since(cut_at + 0.5) == {"b"}
        experiment = rig.end(experiment_id)
        assert experiment["state"]["status"] == "completed"
        healed_at = time.time()
        wait_until(lambda: hearts.zones_beating_since(healed_at) == {"a", "b"}, "both zones beat again", TASKS_UP_S_MAX)
        assert before["us-east-1b"] in {task["taskArn"] for task in hearts.tasks()}
    finally:
        hearts.close()


A1 = Endpoint(kind=TASK, id="a1", zone="us-east-1a", subnet="subnet-a", vpc="vpc-1")
A2 = Endpoint(kind=TASK, id="a2", zone="us-east-1a", subnet="subnet-a", vpc="vpc-1")
PUBLIC_A = Endpoint(kind=ALB, id="lb", zone="us-east-1a", subnet="subnet-public", vpc="vpc-1")
B1 = Endpoint(kind=TASK, id="b1", zone="us-east-1b", subnet="subnet-b", vpc="vpc-1")
OTHER_VPC = Endpoint(kind=TASK, id="o", zone="us-east-1a", subnet="subnet-o", vpc="vpc-2")
DYNAMODB = Endpoint(kind=AWS, service="dynamodb", region="us-east-1")
ELSEWHERE = Endpoint(kind=AWS, service="dynamodb", region="eu-west-1")
SQS = Endpoint(kind=AWS, service="sqs", region="us-east-1")
S3 = Endpoint(kind=AWS, service="s3", region="us-east-1")
WORLD = Endpoint(kind=CLIENT)
OTHERS = {
    "same subnet": A2, "same zone": PUBLIC_A, "other zone": B1, "other vpc": OTHER_VPC, "dynamodb": DYNAMODB,
    "dynamodb elsewhere": ELSEWHERE, "sqs": SQS, "s3": S3, "internet": WORLD,
}  # fmt: skip
EVERYTHING_OUTSIDE = set(OTHERS) - {"same subnet"}


@pytest.mark.parametrize(
    ("scope", "cut"),
    [
        ("all", EVERYTHING_OUTSIDE),
        ("availability-zone", {"other zone"}),
        ("vpc", {"other vpc", "dynamodb", "dynamodb elsewhere", "sqs", "s3", "internet"}),
        ("dynamodb", {"dynamodb"}),
        ("s3", {"s3"}),
        ("s3express", set()),
    ],
)
def test_each_scope_cuts_what_its_network_acl_would(
    scope: str, cut: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traffic is cut in both directions, but not inside the subnet. The undo leaves no rule."""
    monkeypatch.setattr(ec2, "_vpcs", {"vpc-1": {}, "vpc-2": {}})
    described = {"SubnetId": "subnet-a", "VpcId": "vpc-1", "AvailabilityZone": "us-east-1a"}
    subnet = Resource(type="aws:ec2:subnet", arn="arn", tags={}, described=described)
    journal = Journal(tmp_path)
    journal.load()
    parts: Any = SimpleNamespace(links=Links(1))
    context = ActionContext(
        services=parts, journal=journal, experiment_id="EXP", action_name="cut", targets={"Subnets": [subnet]}
    )

    async def inject_and_look() -> tuple[set[str], set[str], bool]:
        await DisruptConnectivity.parse({"scope": scope}).start(context)
        sent = {name for name, endpoint in OTHERS.items() if not parts.links.is_clear(A1, endpoint)}
        received = {name for name, endpoint in OTHERS.items() if not parts.links.is_clear(endpoint, A1)}
        return sent, received, parts.links.is_clear(B1, DYNAMODB)

    async def undo_all() -> None:
        for entry in context.changes:
            await UNDO[entry.kind](parts, entry)

    assert asyncio.run(inject_and_look()) == (cut, cut, True)
    written = json.loads((tmp_path / FILE_NAME).read_text().splitlines()[0])
    assert written["data"] == {"rule": "EXP/cut/subnet-a"}
    asyncio.run(undo_all())
    assert parts.links.rules() == []
