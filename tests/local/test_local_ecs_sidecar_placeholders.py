"""Test that the SSM agent of a task runs without a process."""

from __future__ import annotations

import pytest

from kit.local.ecs.sidecar_placeholders import is_placeholder
from tests.local.ecs_fixtures import stage_on
from tests.polling import wait_until

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/paperbroker-base:latest"
AGENT = "public.ecr.aws/amazon-ssm-agent/amazon-ssm-agent:latest"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (AGENT, True),
        ("111122223333.dkr.ecr.eu-west-1.amazonaws.com/mirror/amazon-ssm-agent@sha256:00", True),
        ("amazon-ssm-agent", True),
        (IMAGE, False),
        ("registry/amazon-ssm-agent/app:1", False),
    ],
)
def test_the_repository_decides_whether_an_image_is_a_placeholder(image: str, expected: bool):
    assert is_placeholder(image) is expected


def test_a_task_runs_beside_an_agent_without_a_process(cloud):
    stage = stage_on(cloud.client)
    definition = stage.ecs.register_task_definition(
        family="with-agent",
        networkMode="awsvpc",
        pidMode="task",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[
            {"name": "main", "image": IMAGE, "command": ["sleep", "600"], "essential": True},
            {"name": "amazon-ssm-agent", "image": AGENT, "command": ["/bin/bash", "-c", "exit 1"], "essential": False},
        ],
    )["taskDefinition"]["taskDefinitionArn"]
    arn = stage.ecs.run_task(
        cluster=stage.cluster,
        taskDefinition=definition,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": [stage.subnets[0]]}},
    )["tasks"][0]["taskArn"]

    def described() -> dict:
        return stage.ecs.describe_tasks(cluster=stage.cluster, tasks=[arn])["tasks"][0]

    wait_until(lambda: described()["lastStatus"] == "RUNNING", "the task runs")
    containers = {each["name"]: each for each in described()["containers"]}
    assert {each["lastStatus"] for each in containers.values()} == {"RUNNING"}
    assert "runtimeId" in containers["main"] and "runtimeId" not in containers["amazon-ssm-agent"]
    stage.ecs.stop_task(cluster=stage.cluster, task=arn)
    wait_until(lambda: described()["lastStatus"] == "STOPPED", "the task is stopped")
    assert {each["lastStatus"] for each in described()["containers"]} == {"STOPPED"}
