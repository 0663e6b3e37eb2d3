"""Test services in CloudFormation stacks behind a load balancer, and the end of the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.local.ecs_fixtures import alive, clients, processes, stage_on, start
from tests.polling import wait_until


def template(mode: str, count: int = 2) -> str:
    subnets = [{"Ref": "A"}, {"Ref": "B"}]
    command = ["/bin/sh", "-c", "exit 3"] if mode == "crash" else ["python", "web.py", mode]
    resources: dict[str, Any] = {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.200.0.0/16"}},
        "Cluster": {"Type": "AWS::ECS::Cluster", "Properties": {"ClusterName": {"Ref": "AWS::StackName"}}},
        "Group": {"Type": "AWS::ElasticLoadBalancingV2::TargetGroup", "Properties": {
            "VpcId": {"Ref": "Vpc"}, "Port": 8080, "Protocol": "HTTP", "TargetType": "ip",
            "HealthCheckPath": "/healthz", "HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2,
            "HealthyThresholdCount": 2, "UnhealthyThresholdCount": 2,
            "TargetGroupAttributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "1"}]}},
        "Alb": {"Type": "AWS::ElasticLoadBalancingV2::LoadBalancer", "Properties": {"Subnets": subnets}},
        "Listener": {"Type": "AWS::ElasticLoadBalancingV2::Listener", "Properties": {
            "LoadBalancerArn": {"Ref": "Alb"}, "Port": 80, "Protocol": "HTTP",
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": {"Ref": "Group"}}]}},
        "Definition": {"Type": "AWS::ECS::TaskDefinition", "Properties": {
            "Family": {"Ref": "AWS::StackName"}, "NetworkMode": "awsvpc", "RequiresCompatibilities": ["FARGATE"],
            "Cpu": "256", "Memory": "512", "ContainerDefinitions": [{
                "Name": "main", "Image": "registry/web:1", "Command": command,
                "PortMappings": [{"ContainerPort": 8080}], "StopTimeout": 2}]}},
        "Service": {"Type": "AWS::ECS::Service", "DependsOn": ["Listener"], "Properties": {
            "ServiceName": "api", "Cluster": {"Ref": "Cluster"}, "TaskDefinition": {"Ref": "Definition"},
            "DesiredCount": count, "LaunchType": "FARGATE", "PropagateTags": "SERVICE",
            "DeploymentConfiguration": {"DeploymentCircuitBreaker": {"Enable": True, "Rollback": True}},
            "NetworkConfiguration": {"AwsvpcConfiguration": {"Subnets": subnets}},
            "LoadBalancers": [
                {"ContainerName": "main", "ContainerPort": 8080, "TargetGroupArn": {"Ref": "Group"}}],
            "Tags": [{"Key": "App", "Value": "Web"}]}},
    }  # fmt: skip
    for i, name in enumerate("AB"):
        resources[name] = {"Type": "AWS::EC2::Subnet", "Properties": {
            "VpcId": {"Ref": "Vpc"}, "CidrBlock": f"10.200.{i}.0/24",
            "AvailabilityZone": {"Fn::Select": [i, {"Fn::GetAZs": ""}]}}}  # fmt: skip
    outputs = {
        "Url": {"Value": {"Fn::Sub": "http://${Alb.DNSName}"}},
        "Group": {"Value": {"Ref": "Group"}},
        "Service": {"Value": {"Ref": "Service"}},
    }
    return json.dumps({"Resources": resources, "Outputs": outputs})


def settled(aws: Callable[[str], Any], name: str) -> dict[str, Any]:
    """Wait until the stack is in no IN_PROGRESS state."""

    def look() -> dict[str, Any] | None:
        stack = aws("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

    return wait_until(look, f"stack {name} settled", timeout_s=60)


def tasks(aws: Callable[[str], Any], cluster: str, status: str = "RUNNING") -> list[dict[str, Any]]:
    arns = aws("ecs").list_tasks(cluster=cluster, desiredStatus=status)["taskArns"]
    return aws("ecs").describe_tasks(cluster=cluster, tasks=arns, include=["TAGS"])["tasks"] if arns else []


def test_a_stack_waits_for_healthy_targets_and_its_deletion_for_the_last_process(
    aws: Callable[[str], Any],
) -> None:
    """CREATE waits for healthy targets, DELETE for the last process."""
    cfn = aws("cloudformation")
    cfn.create_stack(StackName="web", TemplateBody=template("web"), Tags=[{"Key": "RunId", "Value": "r7"}])
    stack = settled(aws, "web")
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    outputs = {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}
    health = aws("elbv2").describe_target_health(TargetGroupArn=outputs["Group"])["TargetHealthDescriptions"]
    assert [h["TargetHealth"]["State"] for h in health] == ["healthy", "healthy"]
    with urllib.request.urlopen(outputs["Url"], timeout=5) as answer:
        assert answer.status == 200
    running = tasks(aws, "web")
    assert {"key": "App", "value": "Web"} in running[0]["tags"] and {"key": "RunId", "value": "r7"} in running[0][
        "tags"
    ]

    pids = [pid for task in running for pid in processes(task["taskArn"])]
    assert len(pids) == 2
    cfn.delete_stack(StackName="web")
    wait_until(lambda: not any(alive(pid) for pid in pids), "no process left", timeout_s=10)
    assert settled(aws, stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.slow
def test_an_updated_stack_is_complete_when_the_new_tasks_are_healthy(aws: Callable[[str], Any]) -> None:
    """A changed definition rolls out before UPDATE_COMPLETE; one that crashes rolls back."""
    cfn = aws("cloudformation")
    cfn.create_stack(StackName="roll", TemplateBody=template("web"))
    assert settled(aws, "roll")["StackStatus"] == "CREATE_COMPLETE"
    cfn.update_stack(StackName="roll", TemplateBody=template("env"))
    assert settled(aws, "roll")["StackStatus"] == "UPDATE_COMPLETE"
    assert {t["taskDefinitionArn"].rpartition(":")[2] for t in tasks(aws, "roll")} == {"2"}

    cfn.update_stack(StackName="roll", TemplateBody=template("crash"))
    assert settled(aws, "roll")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert {t["taskDefinitionArn"].rpartition(":")[2] for t in tasks(aws, "roll")} == {"2"}


def test_a_stack_whose_tasks_crash_fails_and_leaves_nothing(aws: Callable[[str], Any]) -> None:
    """The circuit breaker ends CREATE; the stack rolls back; no task is left."""
    cfn = aws("cloudformation")
    cfn.create_stack(StackName="crash", TemplateBody=template("crash"))
    assert settled(aws, "crash")["StackStatus"] == "ROLLBACK_COMPLETE"

    reasons = [e.get("ResourceStatusReason", "") for e in cfn.describe_stack_events(StackName="crash")["StackEvents"]]
    assert any("ECS Deployment Circuit Breaker was triggered" in reason for reason in reasons)


def test_deleting_a_stack_that_is_still_being_created_ends_its_tasks(aws: Callable[[str], Any]) -> None:
    """Tasks that never become healthy keep CREATE waiting. DeleteStack ends the wait and the tasks."""
    cfn = aws("cloudformation")
    cfn.create_stack(StackName="sick", TemplateBody=template("sick"))
    wait_until(lambda: processes_of(aws, "sick"), "tasks run")
    pids = processes_of(aws, "sick")
    cfn.delete_stack(StackName="sick")

    wait_until(lambda: not any(alive(pid) for pid in pids), "no process left")
    wait_until(lambda: stack_status(aws, "sick") == "DELETE_COMPLETE", "stack deleted")


def stack_status(aws: Callable[[str], Any], name: str) -> str:
    listed = aws("cloudformation").list_stacks()["StackSummaries"]
    return next(stack["StackStatus"] for stack in listed if stack["StackName"] == name)


def processes_of(aws: Callable[[str], Any], cluster: str) -> list[int]:
    try:
        return [pid for task in tasks(aws, cluster) for pid in processes(task["taskArn"])]
    except aws("ecs").exceptions.ClusterNotFoundException:
        return []


@pytest.mark.slow
def test_a_task_that_fails_the_load_balancers_checks_is_replaced(aws: Callable[[str], Any]) -> None:
    """A paused process fails its checks; the task is stopped with ECS's reason and replaced."""
    cfn = aws("cloudformation")
    cfn.create_stack(StackName="pause", TemplateBody=template("web", count=1))
    stack = settled(aws, "pause")
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    group = next(o["OutputValue"] for o in stack["Outputs"] if o["OutputKey"] == "Group")
    (task,) = tasks(aws, "pause")
    for pid in processes(task["taskArn"]):
        os.kill(pid, signal.SIGSTOP)

    stopped = wait_until(lambda: tasks(aws, "pause", "STOPPED"), "replaced", timeout_s=30)[0]
    assert stopped["stoppedReason"] == f"Task failed ELB health checks in (target-group {group})"
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"


def run_two_tasks(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    process, state = start(folder)
    stage = stage_on(clients(state))
    stage.serve(stage.define("stubborn"), 2)
    return process, [pid for task in stage.steady(2) for pid in processes(task["taskArn"])]


def test_no_task_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the server ends every task at once."""
    process, pids = run_two_tasks(tmp_path)
    process.kill()
    process.wait()

    assert len(pids) == 2
    wait_until(lambda: not any(alive(pid) for pid in pids), "tasks gone", timeout_s=2)


def test_a_graceful_stop_ends_tasks_that_ignore_sigterm(tmp_path: Path) -> None:
    """The server stops within its time limit, and its tasks before it."""
    process, pids = run_two_tasks(tmp_path)
    asked = time.monotonic()
    process.terminate()
    process.wait(10)

    assert time.monotonic() - asked < 8
    assert len(pids) == 2 and not any(alive(pid) for pid in pids)
