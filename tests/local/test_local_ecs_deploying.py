"""Test secrets, task protection and deployment alarms through the API of a running cloud."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.ecs_fixtures import Stage, processes, stage_on
from tests.polling import wait_until


@pytest.fixture
def stage(aws: Callable[[str], Any]) -> Iterator[Stage]:
    made = stage_on(aws)
    yield made
    for arn in made.ecs.list_services(cluster=made.cluster)["serviceArns"]:
        if made.ecs.describe_services(cluster=made.cluster, services=[arn])["services"][0]["status"] == "ACTIVE":
            made.ecs.delete_service(cluster=made.cluster, service=arn, force=True)


def environment(arn: str) -> dict[str, str]:
    (pid,) = processes(arn)
    assignments = (line.partition("=") for line in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    return {name: value for name, _, value in assignments}


def test_secrets_reach_the_container(stage: Stage) -> None:
    """A parameter by name and by ARN, and one field of a secret."""
    name = f"/{stage.cluster}/password"
    stage.aws("ssm").put_parameter(Name=name, Value="open", Type="SecureString")
    made = stage.aws("secretsmanager").create_secret(Name=stage.cluster, SecretString=json.dumps({"user": "ann"}))
    secrets = [
        {"name": "BY_NAME", "valueFrom": name},
        {"name": "BY_ARN", "valueFrom": f"arn:aws:ssm:us-east-1:000000000000:parameter{name}"},
        {"name": "FIELD", "valueFrom": f"{made['ARN']}:user::"},
    ]
    arn = stage.run(stage.define(secrets=secrets))
    wait_until(lambda: stage.describe(arn)[0]["lastStatus"] == "RUNNING", "it runs")
    found = environment(arn)
    assert [found[each["name"]] for each in secrets] == ["open", "open", "ann"]
    stage.ecs.stop_task(cluster=stage.cluster, task=arn)


def test_a_task_with_a_missing_secret_is_stopped_before_any_container_starts(stage: Stage) -> None:
    arn = stage.run(stage.define(secrets=[{"name": "X", "valueFrom": "/absent"}]))
    gone = stage.stopped(arn)
    assert gone["stopCode"] == "TaskFailedToStart"
    assert gone["stoppedReason"].startswith("ResourceInitializationError")
    assert "/absent" in gone["stoppedReason"]
    assert "exitCode" not in gone["containers"][0]


def test_a_protected_task_survives_scaling_in_and_a_deployment(stage: Stage) -> None:
    stage.serve(stage.define(), 2)
    kept, _ = stage.steady(2)
    protect = {"cluster": stage.cluster, "tasks": [kept["taskArn"]]}
    answer = stage.ecs.update_task_protection(**protect, protectionEnabled=True, expiresInMinutes=5)
    assert answer["protectedTasks"][0]["protectionEnabled"]
    stage.ecs.update_service(cluster=stage.cluster, service="api", desiredCount=1, taskDefinition=stage.define())
    wait_until(
        lambda: {t["lastStatus"] for t in stage.tasks()} == {"RUNNING"} and len(stage.tasks()) == 2,
        "the new task and the protected one",
    )
    assert kept["taskArn"] in {task["taskArn"] for task in stage.tasks()}
    assert stage.ecs.get_task_protection(**protect)["protectedTasks"][0]["expirationDate"]
    stage.ecs.update_task_protection(**protect, protectionEnabled=False)
    (left,) = stage.steady(1)
    assert left["taskArn"] != kept["taskArn"]


def test_an_alarm_rolls_a_deployment_back_and_the_history_tells(stage: Stage) -> None:
    alarms, name = stage.aws("cloudwatch"), f"errors-{stage.cluster}"
    alarms.put_metric_alarm(
        AlarmName=name, Namespace="N", MetricName="M", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    alarms.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="test")
    watched = {"alarms": {"alarmNames": [name], "enable": True, "rollback": True}}
    first, second = stage.define(), stage.define()
    stage.serve(first, 1)
    stage.steady(1)
    of_service = {"cluster": stage.cluster, "service": "api"}
    stage.ecs.update_service(**of_service, taskDefinition=second, deploymentConfiguration=watched)
    assert stage.service()["deploymentConfiguration"]["alarms"] == watched["alarms"]
    wait_until(
        lambda: any(t["taskDefinitionArn"] == second and t["lastStatus"] == "RUNNING" for t in stage.tasks()),
        "a task of the new deployment runs",
    )
    running = stage.ecs.list_service_deployments(**of_service)["serviceDeployments"][0]
    assert running["status"] == "IN_PROGRESS"
    alarms.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")
    wait_until(lambda: stage.service()["taskDefinition"] == first, "rolled back")
    stage.steady(1)
    arn = running["serviceDeploymentArn"]
    told = stage.ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"][0]
    assert (told["status"], told["alarms"]["triggeredAlarmNames"]) == ("ROLLBACK_SUCCESSFUL", [name])
    target = told["targetServiceRevision"]["arn"]
    revision = stage.ecs.describe_service_revisions(serviceRevisionArns=[target])["serviceRevisions"][0]
    assert revision["taskDefinition"] == second
    assert "alarm detected" in stage.messages()


def test_a_command_is_executed_in_no_task_and_the_refusal_says_why(stage: Stage) -> None:
    command = {"cluster": stage.cluster, "command": "ls", "interactive": True}
    arn = stage.run(stage.define())
    with pytest.raises(ClientError, match=r"InvalidParameterException.*was not enabled"):
        stage.ecs.execute_command(**command, task=arn)
    with pytest.raises(ClientError, match="ClusterContainsTasksException"):
        stage.ecs.delete_cluster(cluster=stage.cluster)
    enabled = stage.run(stage.define(), enableExecuteCommand=True)
    wait_until(lambda: stage.describe(enabled)[0]["lastStatus"] == "RUNNING", "it runs")
    with pytest.raises(ClientError, match="UnsupportedOperation"):
        stage.ecs.execute_command(**command, task=enabled)
    for each in (arn, enabled):
        stage.ecs.stop_task(cluster=stage.cluster, task=each)
        stage.stopped(each)
