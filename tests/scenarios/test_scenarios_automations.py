"""Test the automations of the scenarios, started by FIS on the real stack: their effect, and its end after a stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kit import aws, faults
from kit.model import Deployment
from tests.polling import wait_until

WAIT_S_MAX = 20.0
# New tasks start and pass two health checks before the old ones stop.
DEPLOY_S_MAX = 60.0
TERMINAL = {"completed", "stopped", "failed", "cancelled"}


@pytest.fixture
def start(local_session: aws.Session, deployment: Deployment) -> Iterator[Callable[[str], str]]:
    """Start an experiment by the output that names its template. Those that still run at the end are stopped."""
    fis, started = local_session.client("fis"), []
    # A new stack has not reported any metrics yet, and its guardrail against silence would stop the experiment.
    wait_until(lambda: not alarms(local_session, deployment), "no guardrail is in alarm")

    def begin(output: str) -> str:
        template = deployment.outputs[output]
        tags = {"GameDay": "allowed", "RunId": deployment.run_id}
        started.append(fis.start_experiment(experimentTemplateId=template, tags=tags)["experiment"]["id"])
        return started[-1]

    yield begin
    for experiment in started:
        if status(local_session, experiment) not in TERMINAL:
            fis.stop_experiment(id=experiment)
            wait_until(lambda each=experiment: status(local_session, each) in TERMINAL, "the experiment is over")


def status(session: aws.Session, experiment: str) -> str:
    return session.client("fis").get_experiment(id=experiment)["experiment"]["state"]["status"]


def alarms(session: aws.Session, deployment: Deployment) -> list[str]:
    names = deployment.outputs["GuardrailAlarms"].split(",")
    found = session.client("cloudwatch").describe_alarms(AlarmNames=names, StateValue="ALARM")["MetricAlarms"]
    return [alarm["AlarmName"] for alarm in found]


def write_units(session: aws.Session, deployment: Deployment) -> int:
    table: Any = session.client("dynamodb").describe_table(TableName=deployment.outputs["OrdersTable"])["Table"]
    return table.get("OnDemandThroughput", {}).get("MaxWriteRequestUnits", -1)


def lookups(session: aws.Session, deployment: Deployment) -> str:
    """How the stack's tasks look up names; "" as usual."""
    found: Any = session.client("ec2").describe_subnets(SubnetIds=[deployment.outputs["AppSubnetA"]])["Subnets"][0]
    (vpc,) = session.client("ec2").describe_vpcs(VpcIds=[found["VpcId"]])["Vpcs"]
    return next((tag["Value"] for tag in vpc["Tags"] if tag["Key"] == "gameday:name-lookups"), "")


def flags(session: aws.Session, deployment: Deployment) -> str:
    """The version of the flags that AppConfig deployed last."""
    ecs, appconfig = session.client("ecs"), session.client("appconfig")
    service = ecs.describe_services(cluster=deployment.outputs["ClusterName"], services=["api"])["services"][0]
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    names = {item["name"]: item["value"] for item in definition["containerDefinitions"][0]["environment"]}
    deployed = appconfig.list_deployments(
        ApplicationId=names["PB_FLAGS_APPLICATION"], EnvironmentId=names["PB_FLAGS_ENVIRONMENT"]
    )["Items"]
    latest = max(deployed, key=lambda item: item["DeploymentNumber"])
    return latest["ConfigurationVersion"]


@pytest.mark.slow
def test_a_throttle_caps_the_orders_table_and_removes_the_cap_at_its_end(
    local_session: aws.Session, deployment: Deployment, start: Callable[[str], str]
):
    experiment = start("DataThrottlingTemplateId")
    wait_until(lambda: write_units(local_session, deployment) == 80, "the cap")
    wait_until(lambda: status(local_session, experiment) == "completed", "the end")
    assert write_units(local_session, deployment) == -1


def test_a_stopped_throttle_removes_the_cap(
    local_session: aws.Session, deployment: Deployment, start: Callable[[str], str]
):
    experiment = start("DataThrottlingTemplateId")
    wait_until(lambda: write_units(local_session, deployment) == 80, "the cap")
    local_session.client("fis").stop_experiment(id=experiment)
    wait_until(lambda: status(local_session, experiment) == "stopped", "the stop")
    assert write_units(local_session, deployment) == -1


def test_stopped_slow_names_are_looked_up_as_usual_again(
    local_session: aws.Session, deployment: Deployment, start: Callable[[str], str]
):
    experiment = start("SlowNamesTemplateId")
    wait_until(
        lambda: lookups(local_session, deployment) == "delay_ms=500 fail=0.25 services=dynamodb,sqs", "slow names"
    )
    local_session.client("fis").stop_experiment(id=experiment)
    wait_until(lambda: status(local_session, experiment) == "stopped", "the stop")
    assert lookups(local_session, deployment) == ""


def test_a_stopped_store_latency_deploys_the_normal_flags(
    local_session: aws.Session, deployment: Deployment, start: Callable[[str], str]
):
    assert flags(local_session, deployment) == "1"
    experiment = start("ApiLatencyTemplateId")
    wait_until(lambda: flags(local_session, deployment) == "2", "the slow flags")
    local_session.client("fis").stop_experiment(id=experiment)
    wait_until(lambda: status(local_session, experiment) == "stopped", "the stop")
    assert flags(local_session, deployment) == "1"


def running(session: aws.Session, deployment: Deployment) -> set[str]:
    """The tasks of the API that ECS wants to run."""
    cluster, service = deployment.outputs["ClusterName"], deployment.outputs["ApiServiceName"]
    return set(session.client("ecs").list_tasks(cluster=cluster, serviceName=service)["taskArns"])


@pytest.mark.slow
def test_a_rolling_deployment_ends_when_every_task_of_the_api_is_replaced(
    local_session: aws.Session, deployment: Deployment, start: Callable[[str], str]
):
    before, since = running(local_session, deployment), time.time()
    experiment = start("RollingDeployTemplateId")
    wait_until(lambda: status(local_session, experiment) in TERMINAL, "the end", DEPLOY_S_MAX)
    assert status(local_session, experiment) == "completed"
    after = running(local_session, deployment)
    assert len(after) == len(before) and not after & before
    # The scheduler stopped the old tasks, so no verdict may blame the build for it.
    assert faults.unexplained_stops(local_session, deployment, since=since) == []
