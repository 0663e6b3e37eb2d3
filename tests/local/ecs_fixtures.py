"""Fixtures of the ECS tests: a small cloud, clients, and a cluster in a VPC of two zones."""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.polling import wait_until

_numbers = itertools.count(1)


def start(folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Start the small cloud. Returns its process and its state folder."""
    app = folder / "images" / "web" / "app"
    app.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("ecs_web.py"), app / "web.py")
    state = folder / "state"
    state.mkdir()
    argv = [sys.executable, str(Path(__file__).with_name("ecs_cloud.py")), "--state-dir", str(state)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*argv, "--images", str(folder / "images")], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    wait_until(
        lambda: (state / "cloud.json").exists() or process.poll() is not None,
        f"the cloud is up; see {folder / 'log'}",
        timeout_s=20,
    )
    assert process.poll() is None, (folder / "log").read_text()[-3000:]
    return process, state


def alive(pid: int) -> bool:
    """Return whether the process runs. A zombie does not."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def clients(state: Path) -> Callable[[str], Any]:
    """Return a function that makes boto3 clients of the cloud."""
    facts = json.loads((state / "cloud.json").read_text())

    @functools.cache
    def client(service: str) -> Any:
        return boto3.client(
            service, endpoint_url=facts["endpoint"], region_name="us-east-1", aws_access_key_id=facts["access_key"],
            aws_secret_access_key=facts["secret_key"], config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip

    return client


def stage_on(aws: Callable[[str], Any]) -> Stage:
    """Create a cluster in a new VPC."""
    number = next(_numbers)
    ec2 = aws("ec2")
    vpc = ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")["Vpc"]["VpcId"]
    subnets = []
    for i, zone in enumerate("ab"):
        subnet = ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.{number}.{i}.0/24", AvailabilityZone=f"us-east-1{zone}"
        )  # fmt: skip
        subnets.append(subnet["Subnet"]["SubnetId"])
    cluster = f"c{number}"
    aws("ecs").create_cluster(clusterName=cluster)
    return Stage(aws=aws, cluster=cluster, vpc=vpc, subnets=tuple(subnets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A cluster in its own VPC of two zones, and the calls that tests make."""

    aws: Callable[[str], Any]
    cluster: str
    vpc: str
    subnets: tuple[str, ...]

    @property
    def ecs(self) -> Any:
        return self.aws("ecs")

    def define(self, *command: str, family: str = "web", **container: Any) -> str:
        """Register a task definition of one container. Returns its ARN."""
        definition = {
            "name": "main",
            "image": "registry/web:latest",
            "command": ["python", "web.py", *command],
            "portMappings": [{"containerPort": 8080}],
            "stopTimeout": 2,
            **container,
        }
        answer = self.ecs.register_task_definition(
            family=f"{self.cluster}-{family}", networkMode="awsvpc", requiresCompatibilities=["FARGATE"],
            cpu="256", memory="512", containerDefinitions=[definition],
            executionRoleArn="arn:aws:iam::000000000000:role/execution",
        )  # fmt: skip
        return answer["taskDefinition"]["taskDefinitionArn"]

    @property
    def network(self) -> dict[str, Any]:
        return {"awsvpcConfiguration": {"subnets": list(self.subnets)}}

    def serve(self, definition: str, count: int, *, name: str = "api", **fields: Any) -> None:
        """Create a service."""
        self.ecs.create_service(
            cluster=self.cluster, serviceName=name, taskDefinition=definition, desiredCount=count,
            launchType="FARGATE", networkConfiguration=self.network, **fields,
        )  # fmt: skip

    def run(self, definition: str, **fields: Any) -> str:
        """Run a task of the definition. Returns its ARN."""
        answer = self.ecs.run_task(
            cluster=self.cluster, taskDefinition=definition, networkConfiguration=self.network, launchType="FARGATE",
            **fields,
        )  # fmt: skip
        return answer["tasks"][0]["taskArn"]

    def service(self, name: str = "api") -> dict[str, Any]:
        return self.ecs.describe_services(cluster=self.cluster, services=[name])["services"][0]

    def tasks(self, status: str = "RUNNING", name: str = "api") -> list[dict[str, Any]]:
        """Return the service's tasks with this desired status."""
        arns = self.ecs.list_tasks(cluster=self.cluster, serviceName=name, desiredStatus=status)["taskArns"]
        return self.describe(*arns)

    def describe(self, *arns: str) -> list[dict[str, Any]]:
        if not arns:
            return []
        return self.ecs.describe_tasks(cluster=self.cluster, tasks=list(arns), include=["TAGS"])["tasks"]

    def steady(self, count: int, name: str = "api") -> list[dict[str, Any]]:
        """Wait until `count` tasks run and the deployment is complete. Returns the tasks."""

        def look() -> list[dict[str, Any]]:
            found = self.service(name)
            done = len(found["deployments"]) == 1 and found["deployments"][0]["rolloutState"] == "COMPLETED"
            tasks = [t for t in self.tasks(name=name) if t["lastStatus"] == "RUNNING"]
            return tasks if done and found["runningCount"] == len(tasks) == count else []

        return wait_until(look, f"service {name} steady at {count}") if count else []

    def stopped(self, arn: str) -> dict[str, Any]:
        """Wait until a task is STOPPED. Returns its record."""
        return wait_until(
            lambda: next((t for t in self.describe(arn) if t["lastStatus"] == "STOPPED"), None), f"{arn} STOPPED"
        )

    def messages(self, name: str = "api") -> str:
        return "\n".join(e["message"] for e in self.service(name)["events"])


def processes(arn: str) -> list[int]:
    """Return the processes with the task's metadata address in their environment."""
    needle = f"/_ecs/v4/{arn.rpartition('/')[2]}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if needle in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def state(pid: int) -> str:
    """Return the process's state letter."""
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
