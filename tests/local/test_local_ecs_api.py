"""Test what the ECS API refuses, in AWS's error codes, and what it describes of what it was given."""

from __future__ import annotations

from typing import Any

import pytest

from tests.local.ecs_api import CONTAINER, FARGATE, NETWORK, Api, api

__all__ = ["api"]


def containers(**settings: Any) -> dict[str, Any]:
    return {"containerDefinitions": [{**CONTAINER, **settings}]}


def two(**second: Any) -> dict[str, Any]:
    return {"containerDefinitions": [CONTAINER, {**CONTAINER, "name": "side", "essential": False, **second}]}


LOGS = {"awslogs-group": "g", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}


@pytest.mark.parametrize(
    "change",
    [
        {"cpu": None},
        {"memory": None},
        {"memory": "9999"},
        {"cpu": "many"},
        {"networkMode": "bridge"},
        {"pidMode": "host"},
        {"family": "my family"},
        {"containerDefinitions": []},
        {"ephemeralStorage": {"sizeInGiB": 20}},
        {"volumes": [{"name": "a"}, {"name": "a"}]},
        containers(essential=False),
        containers(name="a b"),
        containers(image=""),
        containers(memory=1024),
        containers(cpu=512),
        containers(memory=128, memoryReservation=256),
        containers(portMappings=[{"containerPort": 80, "hostPort": 81}]),
        containers(portMappings=[{"containerPort": 80}, {"containerPort": 80}]),
        containers(portMappings=[{"containerPort": 0}]),
        containers(healthCheck={"command": ["CMD-SHELL", "true"], "interval": 4}),
        containers(healthCheck={"command": ["true"]}),
        containers(secrets=[{"name": "A", "valueFrom": "a"}]),
        containers(environment=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
        containers(logConfiguration={"logDriver": "awslogs", "options": LOGS}),
        containers(dependsOn=[{"containerName": "absent", "condition": "START"}]),
        containers(dependsOn=[{"containerName": "main", "condition": "START"}]),
        two(name="main"),
        two(dependsOn=[{"containerName": "main", "condition": "HEALTHY"}]),
        two(dependsOn=[{"containerName": "main", "condition": "SUCCESS"}]),
        two(dependsOn=[{"containerName": "main", "condition": "FOO"}]),
        {"containerDefinitions": [
            {**CONTAINER, "dependsOn": [{"containerName": "b", "condition": "START"}]},
            {**CONTAINER, "name": "b", "dependsOn": [{"containerName": "main", "condition": "START"}]},
        ]},
    ],
)  # fmt: skip
def test_a_task_definition_that_aws_refuses_is_refused(api: Api, change: dict[str, Any]) -> None:
    request = {name: value for name, value in {**FARGATE, **change}.items() if value is not None}
    assert api.refused("RegisterTaskDefinition", **request) == "ClientException"
    assert len(api.call("ListTaskDefinitions")["taskDefinitionArns"]) == 1


def test_a_log_driver_without_an_effect_is_refused(api: Api) -> None:
    request = {**FARGATE, **containers(logConfiguration={"logDriver": "splunk"})}
    assert api.refused("RegisterTaskDefinition", **request) == "UnsupportedOperation"


def test_a_task_definition_is_described_with_its_defaults(api: Api) -> None:
    request = {**FARGATE, "cpu": "1 vCPU", "memory": "2 GB", **containers(portMappings=[{"containerPort": 80}])}
    made = api.call("RegisterTaskDefinition", **request)["taskDefinition"]
    container = made["containerDefinitions"][0]
    assert (made["cpu"], made["memory"], made["compatibilities"]) == ("1024", "2048", ["EC2", "FARGATE"])
    assert container["portMappings"] == [{"protocol": "tcp", "hostPort": 80, "containerPort": 80}]
    assert (container["mountPoints"], container["volumesFrom"], container["environment"]) == ([], [], [])


def test_a_family_means_its_latest_active_revision(api: Api) -> None:
    api.call("RegisterTaskDefinition", **FARGATE)
    api.call("DeregisterTaskDefinition", taskDefinition="web:2")
    assert api.call("DescribeTaskDefinition", taskDefinition="web")["taskDefinition"]["revision"] == 1
    assert api.call("DescribeTaskDefinition", taskDefinition="web:2")["taskDefinition"]["status"] == "INACTIVE"
    assert api.refused("DescribeTaskDefinition", taskDefinition="web:3") == "ClientException"
    assert api.call("DeleteTaskDefinitions", taskDefinitions=["web:1"])["failures"]
    deleted = api.call("DeleteTaskDefinitions", taskDefinitions=["web:2"])["taskDefinitions"]
    assert deleted[0]["status"] == "DELETE_IN_PROGRESS"


INVALID = "InvalidParameterException"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"serviceName": "my service !"}, INVALID),
        ({"serviceName": ""}, INVALID),
        ({"desiredCount": -1}, INVALID),
        ({"desiredCount": None}, INVALID),
        ({"launchType": "FOO"}, INVALID),
        ({"platformVersion": "1.3.0"}, "UnsupportedOperation"),
        ({"networkConfiguration": None}, INVALID),
        ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": []}}}, INVALID),
        ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-x"]}}}, INVALID),
        ({"networkConfiguration": {"awsvpcConfiguration": {**NETWORK["awsvpcConfiguration"],
                                                           "securityGroups": ["sg-x"]}}}, INVALID),
        ({"deploymentConfiguration": {"maximumPercent": 50, "minimumHealthyPercent": 100}}, INVALID),
        ({"deploymentConfiguration": {"alarms": {"alarmNames": [], "enable": True, "rollback": True}}}, INVALID),
        ({"healthCheckGracePeriodSeconds": 10}, INVALID),
        ({"loadBalancers": [{"targetGroupArn": "arn:x", "containerName": "main", "containerPort": 80}]}, INVALID),
        ({"taskDefinition": "absent"}, "ClientException"),
        ({"cluster": "absent"}, "ClusterNotFoundException"),
        ({"tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}, INVALID),
    ],
)  # fmt: skip
def test_a_service_that_aws_refuses_is_refused(api: Api, change: dict[str, Any], code: str) -> None:
    request = {name: value for name, value in api.service(**change).items() if value is not None}
    assert api.refused("CreateService", **request) == code
    assert api.call("ListServices", cluster="c")["serviceArns"] == []


def test_an_update_that_is_refused_changes_nothing(api: Api) -> None:
    before = api.call("CreateService", **api.service())["service"]
    percent = {"maximumPercent": 150, "minimumHealthyPercent": 50}
    request = {"cluster": "c", "service": "api", "deploymentConfiguration": percent, "desiredCount": -1}
    assert api.refused("UpdateService", **request) == INVALID
    network = {"awsvpcConfiguration": {"subnets": ["subnet-x"]}}
    request = {"cluster": "c", "service": "api", "desiredCount": 3, "networkConfiguration": network}
    assert api.refused("UpdateService", **request) == INVALID
    after = api.call("DescribeServices", cluster="c", services=["api"])["services"][0]
    assert {name: after[name] for name in after if name != "tags"} == {
        name: before[name] for name in before if name != "tags"
    }


def test_members_that_need_no_deployment_are_changed_without_one(api: Api) -> None:
    api.call("CreateService", **api.service())
    request = {"enableExecuteCommand": True, "availabilityZoneRebalancing": "ENABLED"}
    service = api.call("UpdateService", cluster="c", service="api", **request)["service"]
    assert {name: service[name] for name in request} == request
    assert len(service["deployments"]) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"count": 11}, INVALID),
        ({"count": 0}, INVALID),
        ({"networkConfiguration": None}, INVALID),
        ({"launchType": None}, INVALID),
        ({"launchType": "EC2"}, INVALID),
        ({"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}, INVALID),
        ({"overrides": {"containerOverrides": [{"name": "absent"}]}}, INVALID),
        ({"group": "service:api"}, INVALID),
    ],
)
def test_a_task_that_aws_refuses_is_not_run(api: Api, change: dict[str, Any], code: str) -> None:
    request = {"cluster": "c", "taskDefinition": "web", "launchType": "FARGATE", "networkConfiguration": NETWORK}
    given = {name: value for name, value in {**request, **change}.items() if value is not None}
    assert api.refused("RunTask", **given) == code
    assert api.call("ListTasks", cluster="c")["taskArns"] == []


def test_lists_have_limits_and_pages(api: Api) -> None:
    for number in range(3):
        api.call("CreateCluster", clusterName=f"page-{number}")
    first = api.call("ListClusters", maxResults=3)
    rest = api.call("ListClusters", maxResults=3, nextToken=first["nextToken"])
    assert len(first["clusterArns"] + rest["clusterArns"]) == 4
    assert "nextToken" not in rest
    assert api.refused("ListClusters", maxResults=101) == INVALID
    assert api.refused("ListClusters", nextToken="nonsense") == INVALID
    for services in ([], [f"s{number}" for number in range(11)]):
        assert api.refused("DescribeServices", cluster="c", services=services) == INVALID
    assert api.refused("DescribeTasks", cluster="c", tasks=[]) == INVALID
    assert api.refused("UpdateTaskProtection", cluster="c", tasks=[], protectionEnabled=True) == INVALID
    assert api.call("GetTaskProtection", cluster="c", tasks=["0" * 32])["failures"][0]["reason"] == "MISSING"


def test_a_cluster_with_a_service_is_kept(api: Api) -> None:
    api.call("CreateService", **api.service())
    assert api.refused("DeleteCluster", cluster="c") == "ClusterContainsServicesException"
    assert api.call("ListClusters")["clusterArns"]
    insights = [{"name": "containerInsights", "value": "enabled"}]
    assert api.refused("CreateCluster", clusterName="d", settings=insights) == "UnsupportedOperation"
