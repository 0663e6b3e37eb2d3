"""Provide two small web tasks behind a load balancer for the tests of task faults, which hit one of them."""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.local.ecs_fixtures import processes
from tests.local.fis_rig import FisRig
from tests.polling import CLOCK_STEP_S, wait_until

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/paperbroker-base:latest"
APP = Path(__file__).with_name("fis_web.py")
UP_S_MAX = 25.0
# DELAY_MS is far above what a busy machine adds, so that "late" and "in time" cannot be mistaken.
DELAY_MS = 600
LATE_S, IN_TIME_S = DELAY_MS / 1000 - CLOCK_STEP_S, 0.4


class Pair:
    """Two tasks behind a load balancer: the one that is hit, and the other."""

    def __init__(self, rig: FisRig, failed_checks_max: int = 10, **container_settings: Any) -> None:
        self.rig = rig
        self.name, self.subnets = rig.subnets("ab")
        self.ecs, elb = rig.cloud.client("ecs"), rig.cloud.client("elbv2")
        vpc = rig.ec2.describe_subnets(SubnetIds=self.subnets)["Subnets"][0]["VpcId"]
        # Checked often, so that it is soon up, but given up late: no test wants the hit task replaced.
        group = elb.create_target_group(
            Name=self.name, Protocol="HTTP", Port=8080, VpcId=vpc, TargetType="ip", HealthCheckPath="/",
            HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=4, UnhealthyThresholdCount=failed_checks_max,
        )["TargetGroups"][0]["TargetGroupArn"]  # fmt: skip
        balancer = elb.create_load_balancer(Name=self.name, Subnets=self.subnets)["LoadBalancers"][0]
        self.balancer, self.vpc = balancer["LoadBalancerArn"], vpc
        forward = [{"Type": "forward", "TargetGroupArn": group}]
        elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=forward
        )
        elb.modify_target_group_attributes(
            TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "0"}]
        )
        self.host = balancer["DNSName"]
        self.ecs.create_cluster(clusterName=self.name)
        container = {
            "name": "app", "image": IMAGE, "command": ["python", "-c", APP.read_text()], "stopTimeout": 2,
            "portMappings": [{"containerPort": 8080}], **container_settings,
        }  # fmt: skip
        definition = self.ecs.register_task_definition(
            family=self.name, networkMode="awsvpc", cpu="256", memory="512", containerDefinitions=[container]
        )["taskDefinition"]["taskDefinitionArn"]
        self.ecs.create_service(
            cluster=self.name, serviceName="app", taskDefinition=definition, desiredCount=2, launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": self.subnets}},
            loadBalancers=[{"targetGroupArn": group, "containerName": "app", "containerPort": 8080}],
        )  # fmt: skip
        health = wait_until(lambda: self._healthy(elb, group), "two healthy targets", UP_S_MAX)
        assert len(health) == 2
        found = wait_until(self._found, "both tasks answer", UP_S_MAX)
        (self.hit, self.hit_port), (self.other, self.other_port) = sorted(found.items())

    def _healthy(self, elb: Any, group: str) -> list[Any]:
        targets = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return targets if [t["TargetHealth"]["State"] for t in targets] == ["healthy"] * 2 else []

    def _found(self) -> dict[str, int] | None:
        answers = [get(self.host)[1] for _ in range(4)]
        found = {answer["task"]: int(answer["port"]) for answer in answers if "task" in answer}
        return found if len(found) == 2 else None

    def close(self) -> None:
        self.ecs.delete_service(cluster=self.name, service="app", force=True)

    def template(self, kind: str, **parameters: str) -> dict[str, Any]:
        """Return a template with one action of this kind on the task to hit."""
        return {"actions": {"hit": self.action(kind, **parameters)}, "targets": self.targets}

    @property
    def targets(self) -> dict[str, Any]:
        """Return the task to hit, as the target Tasks."""
        arn = f"arn:aws:ecs:us-east-1:000000000000:task/{self.name}/{self.hit}"
        return {"Tasks": {"resourceType": "aws:ecs:task", "resourceArns": [arn], "selectionMode": "ALL"}}

    def action(self, kind: str, *after: str, **parameters: str) -> dict[str, Any]:
        """Return an action on the target Tasks that starts after others."""
        action = {"actionId": f"aws:ecs:task-{kind}", "parameters": parameters, "targets": {"Tasks": "Tasks"}}
        return {**action, "startAfter": list(after)}

    def fault(self, kind: str, **parameters: str) -> AbstractContextManager[None]:
        """Hold the fault until the end of the context."""
        return self.rig.held(**self.template(kind, duration="PT1M", **parameters))

    def through_balancer(self, count: int, timeout_s: float = 5.0) -> dict[str, list[float]]:
        """Send `count` requests at once. Return the durations of the answered ones, by task."""
        times: dict[str, list[float]] = {self.hit: [], self.other: []}
        with ThreadPoolExecutor(count) as pool:
            for took_s, answer in pool.map(lambda _: get(self.host, timeout_s=timeout_s), range(count)):
                if "task" in answer:
                    times[answer["task"]].append(took_s)
        return times

    def ask_hit(self, path: str = "", timeout_s: float = 5.0) -> tuple[float, dict[str, Any]]:
        """Send a request directly to the task that is hit, without the load balancer."""
        return get(f"127.0.0.1:{self.hit_port}", path, timeout_s)

    def ask_other(self, path: str = "", timeout_s: float = 5.0) -> tuple[float, dict[str, Any]]:
        return get(f"127.0.0.1:{self.other_port}", path, timeout_s)


def get(host: str, path: str = "", timeout_s: float = 5.0) -> tuple[float, dict[str, Any]]:
    """Return the duration and the answer; the answer is empty after a time-out or if the status is not 200."""
    began_at = time.perf_counter()
    connection = http.client.HTTPConnection(host, timeout=timeout_s)
    try:
        connection.request("GET", f"/{path}")
        response = connection.getresponse()
        body = response.read()
        return time.perf_counter() - began_at, json.loads(body) if response.status == 200 else {}
    except TimeoutError:
        return time.perf_counter() - began_at, {}
    finally:
        connection.close()


def by_name(pair: Pair) -> dict[str, list[int]]:
    """Return the processes of the task that is hit: those of its interpreter and those of its child `sleep`."""
    found: dict[str, list[int]] = {"python": [], "sleep": []}
    for pid in processes(pair.hit):
        name = Path("/proc", str(pid), "comm").read_text().strip()
        found["sleep" if name == "sleep" else "python"].append(pid)
    return found


def stopped_reason(pair: Pair) -> str:
    """Return ECS's reason for stopping the task that is hit; empty while it runs."""
    return pair.ecs.describe_tasks(cluster=pair.name, tasks=[pair.hit])["tasks"][0].get("stoppedReason", "")
