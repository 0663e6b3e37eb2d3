"""Test ECS services and tasks through boto3, with real processes."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.ecs_fixtures import Stage, alive, kill, processes, stage_on
from tests.polling import CLOCK_STEP_S, wait_until

ROLLING = {"minimumHealthyPercent": 100, "maximumPercent": 200}
CRASH = ["/bin/sh", "-c", "exit 3"]
BREAKER = {**ROLLING, "deploymentCircuitBreaker": {"enable": True, "rollback": True}}
LOGS = {"logDriver": "awslogs", "options": {
    "awslogs-group": "/ecs/web", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "web",
    "awslogs-create-group": "true",
}}  # fmt: skip


@pytest.fixture
def stage(aws: Callable[[str], Any]) -> Iterator[Stage]:
    stage = stage_on(aws)
    yield stage
    ecs = stage.ecs
    for arn in ecs.list_services(cluster=stage.cluster)["serviceArns"]:
        if ecs.describe_services(cluster=stage.cluster, services=[arn])["services"][0]["status"] == "ACTIVE":
            ecs.delete_service(cluster=stage.cluster, service=arn, force=True)


def details(task: dict[str, Any]) -> dict[str, str]:
    return {d["name"]: d["value"] for d in task["attachments"][0]["details"]}


def printed(stage: Stage, arn: str) -> list[str]:
    """Return the output of the task's container in CloudWatch Logs."""
    logs = stage.aws("logs")
    try:
        events = logs.get_log_events(
            logGroupName="/ecs/web", logStreamName=f"web/main/{arn.rpartition('/')[2]}", startFromHead=True
        )
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [event["message"] for event in events["events"]]


def test_tasks_spread_over_zones_with_an_address_in_their_subnet(stage: Stage) -> None:
    """Four tasks in two zones are two and two; subnet, address and zone agree."""
    stage.serve(stage.define(), 4)
    tasks = stage.steady(4)

    assert Counter(t["availabilityZone"] for t in tasks) == {"us-east-1a": 2, "us-east-1b": 2}
    by_zone = dict(zip(("us-east-1a", "us-east-1b"), stage.subnets, strict=True))
    for task in tasks:
        detail = details(task)
        assert detail["subnetId"] == by_zone[task["availabilityZone"]]
        third = {"us-east-1a": "0", "us-east-1b": "1"}[task["availabilityZone"]]
        assert detail["privateIPv4Address"].split(".")[2] == third
        assert task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"] == detail["privateIPv4Address"]
    assert len({details(t)["privateIPv4Address"] for t in tasks}) == 4
    cluster = stage.ecs.describe_clusters(clusters=[stage.cluster])["clusters"][0]
    assert (cluster["runningTasksCount"], cluster["activeServicesCount"]) == (4, 1)


def test_tags_of_the_service_reach_its_tasks(stage: Stage) -> None:
    """PropagateTags SERVICE copies them; ECS's own tags are added when asked for; TagResource changes them."""
    tags = [{"key": "RunId", "value": "r1"}]
    stage.serve(stage.define(), 1, tags=tags, propagateTags="SERVICE", enableECSManagedTags=True)
    (task,) = stage.steady(1)

    found = {t["key"]: t["value"] for t in task["tags"]}
    assert found == {"RunId": "r1", "aws:ecs:serviceName": "api", "aws:ecs:clusterName": stage.cluster}
    stage.ecs.tag_resource(resourceArn=task["taskArn"], tags=[{"key": "Extra", "value": "1"}])
    assert {"key": "Extra", "value": "1"} in stage.describe(task["taskArn"])[0]["tags"]


def test_a_task_whose_process_is_killed_is_replaced(stage: Stage) -> None:
    """The task has exit code 137 and ECS's stop code and reason, and a new task starts in the same zone."""
    stage.serve(stage.define(), 2)
    before = stage.steady(2)
    victim = before[0]
    (pid,) = processes(victim["taskArn"])
    kill(pid)

    gone = stage.stopped(victim["taskArn"])
    assert gone["stopCode"] == "EssentialContainerExited"
    assert gone["stoppedReason"] == "Essential container in task exited"
    assert gone["containers"][0]["exitCode"] == 137
    after = stage.steady(2)
    assert Counter(t["availabilityZone"] for t in after) == Counter(t["availabilityZone"] for t in before)
    assert victim["taskArn"] not in {t["taskArn"] for t in after}


def test_stop_task_ends_the_process_and_a_replacement_comes(stage: Stage) -> None:
    """StopTask returns at once.

    The task has the caller's reason, the code UserInitiated and the exit code of SIGTERM.
    """
    stage.serve(stage.define(), 1)
    (task,) = stage.steady(1)
    (pid,) = processes(task["taskArn"])
    reply = stage.ecs.stop_task(cluster=stage.cluster, task=task["taskArn"], reason="because")["task"]

    assert (reply["desiredStatus"], reply["stopCode"]) == ("STOPPED", "UserInitiated")
    gone = stage.stopped(task["taskArn"])
    assert (gone["stoppedReason"], gone["containers"][0]["exitCode"]) == ("because", 143)
    assert not alive(pid)
    (new,) = stage.steady(1)
    assert new["taskArn"] != task["taskArn"]


def test_a_task_that_ignores_sigterm_is_killed_after_its_stop_timeout(stage: Stage) -> None:
    """The exit code is 137, and the kill comes after the timeout."""
    arn = stage.run(stage.define("stubborn", stopTimeout=1, logConfiguration=LOGS))
    wait_until(lambda: "started stubborn " in printed(stage, arn), "it ignores SIGTERM now")
    asked = time.monotonic()
    stage.ecs.stop_task(cluster=stage.cluster, task=arn)

    assert stage.stopped(arn)["containers"][0]["exitCode"] == 137
    assert time.monotonic() - asked >= 1.0 - CLOCK_STEP_S


def test_processes_that_left_the_session_end_with_their_task(stage: Stage) -> None:
    """A child in a session of its own cannot outlive its container."""
    stage.serve(stage.define("forking"), 1)
    (task,) = stage.steady(1)
    wait_until(lambda: len(processes(task["taskArn"])) == 2, "forked")
    pids = processes(task["taskArn"])
    stage.ecs.stop_task(cluster=stage.cluster, task=task["taskArn"])
    stage.stopped(task["taskArn"])

    wait_until(lambda: not any(alive(pid) for pid in pids), "all ended", timeout_s=2)


def test_output_is_readable_in_cloudwatch_logs(stage: Stage) -> None:
    """Group and stream have the names that awslogs gives them.

    Each line is one event, also after the end of the task.
    """
    stage.serve(stage.define("web", logConfiguration=LOGS), 1)
    (task,) = stage.steady(1)
    wait_until(lambda: "started web " in printed(stage, task["taskArn"]), "the line is there")
    stage.ecs.stop_task(cluster=stage.cluster, task=task["taskArn"])
    stage.stopped(task["taskArn"])
    assert "started web " in printed(stage, task["taskArn"])


def test_a_task_has_its_own_environment(stage: Stage) -> None:
    """The task has its own credentials and its zone, and no variable of the machine's user."""
    stage.serve(stage.define("env", logConfiguration=LOGS, environment=[{"name": "PORT", "value": "8080"}]), 1)
    (task,) = stage.steady(1)

    def read() -> dict[str, str] | None:
        return next((json.loads(line) for line in printed(stage, task["taskArn"]) if line.startswith("{")), None)

    env = wait_until(read, "environment logged")
    assert env["AWS_ACCESS_KEY_ID"].startswith("ASIA") and env["PORT"] != "8080"
    assert env["HOME"] != os.environ.get("HOME") and "USER" not in env
    with urllib.request.urlopen(env["ECS_CONTAINER_METADATA_URI_V4"] + "/task") as answer:
        document = json.load(answer)
    assert (document["TaskARN"], document["AvailabilityZone"]) == (task["taskArn"], task["availabilityZone"])


def test_a_new_definition_rolls_without_falling_below_the_minimum(stage: Stage) -> None:
    """With 100 % and 200 %, the desired number of tasks runs all the time."""
    stage.serve(stage.define(), 2, deploymentConfiguration=ROLLING)
    old = {t["taskArn"] for t in stage.steady(2)}
    new = stage.define(environment=[{"name": "COLOUR", "value": "green"}])
    stage.ecs.update_service(cluster=stage.cluster, service="api", taskDefinition=new)

    fewest = 2
    while True:
        service = stage.service()
        fewest = min(fewest, service["runningCount"])
        if len(service["deployments"]) == 1 and service["deployments"][0]["rolloutState"] == "COMPLETED":
            break
        time.sleep(0.02)
    tasks = stage.steady(2)
    assert fewest == 2
    assert {t["taskDefinitionArn"] for t in tasks} == {new}
    reasons = {stage.stopped(arn)["stoppedReason"] for arn in old}
    assert reasons == {f"Scaling activity initiated by (deployment {service['deployments'][0]['id']})"}
    assert "has reached a steady state." in stage.messages()


def test_the_circuit_breaker_rolls_back_to_the_last_good_deployment(stage: Stage) -> None:
    """Three failed starts fail the deployment; the old deployment is the primary one again, with its tasks."""
    good = stage.define()
    stage.serve(good, 2, deploymentConfiguration=BREAKER)
    (first,) = {t["startedBy"] for t in stage.steady(2)}
    stage.ecs.update_service(cluster=stage.cluster, service="api", taskDefinition=stage.define(command=CRASH))

    wait_until(lambda: "rolling back to" in stage.messages(), "roll back")
    assert {(t["startedBy"], t["taskDefinitionArn"]) for t in stage.steady(2)} == {(first, good)}
    assert [d["id"] for d in stage.service()["deployments"]] == [first]
    assert "deployment failed: tasks failed to start." in stage.messages()


def test_a_crash_loop_is_throttled_and_logged(stage: Stage) -> None:
    """After some failed starts the next starts are delayed, and the event log gives the reason."""
    stage.serve(stage.define(command=CRASH), 1)
    wait_until(lambda: "unable to consistently start tasks" in stage.messages(), "throttled")
    stopped = len(stage.tasks("STOPPED"))
    time.sleep(0.8)

    assert len(stage.tasks("STOPPED")) - stopped <= 1
    assert stage.tasks("STOPPED")[0]["containers"][0]["exitCode"] == 3


def test_an_image_that_cannot_be_pulled_fails_the_start(stage: Stage) -> None:
    """TaskFailedToStart and CannotPullContainerError."""
    definition = stage.define(image="registry/absent:latest")
    arn = stage.run(definition)

    gone = stage.stopped(arn)
    assert gone["stopCode"] == "TaskFailedToStart"
    assert gone["stoppedReason"].startswith("CannotPullContainerError")


@pytest.mark.slow
def test_scaling_in_keeps_the_zones_even(stage: Stage) -> None:
    """From four to two: one in each zone remains."""
    stage.serve(stage.define(), 4)
    stage.steady(4)
    stage.ecs.update_service(cluster=stage.cluster, service="api", desiredCount=2)

    assert Counter(t["availabilityZone"] for t in stage.steady(2)) == {"us-east-1a": 1, "us-east-1b": 1}


def test_a_deleted_service_leaves_no_process(stage: Stage) -> None:
    """With `force`, the service is INACTIVE when all of its processes have ended."""
    stage.serve(stage.define(), 2)
    pids = [pid for task in stage.steady(2) for pid in processes(task["taskArn"])]
    with pytest.raises(ClientError, match="scaled above 0"):
        stage.ecs.delete_service(cluster=stage.cluster, service="api")
    stage.ecs.delete_service(cluster=stage.cluster, service="api", force=True)

    wait_until(lambda: stage.service()["status"] == "INACTIVE", "INACTIVE")
    assert len(pids) == 2 and not any(alive(pid) for pid in pids)


def test_unknown_resources_are_refused_with_the_messages_of_aws(stage: Stage) -> None:
    """Cluster, service, task and subnet."""
    with pytest.raises(ClientError, match="ClusterNotFoundException"):
        stage.ecs.describe_services(cluster="nope", services=["x"])
    with pytest.raises(ClientError, match="ServiceNotFoundException"):
        stage.ecs.update_service(cluster=stage.cluster, service="nope", desiredCount=1)
    with pytest.raises(ClientError, match="The referenced task was not found"):
        stage.ecs.stop_task(cluster=stage.cluster, task="0" * 32)
    network = {"awsvpcConfiguration": {"subnets": ["subnet-0"]}}
    with pytest.raises(ClientError, match="does not exist"):
        stage.ecs.run_task(
            cluster=stage.cluster, taskDefinition=stage.define(), networkConfiguration=network, launchType="FARGATE"
        )


@pytest.mark.slow
def test_a_container_health_check_replaces_an_unhealthy_task(stage: Stage) -> None:
    """Failing checks make the task UNHEALTHY, and the scheduler replaces it."""
    check = {"command": ["CMD", "python", "-c", "raise SystemExit(1)"], "interval": 5, "timeout": 2, "retries": 1}
    stage.serve(stage.define(healthCheck=check), 1)
    gone = wait_until(lambda: stage.tasks("STOPPED"), "replaced", timeout_s=12)[0]

    assert gone["stoppedReason"] == "Task failed container health checks"
    assert gone["stopCode"] == "ServiceSchedulerInitiated"


def test_task_state_changes_reach_eventbridge(stage: Stage) -> None:
    """A rule on "ECS Task State Change" sees the stop with its reason."""
    sqs, events = stage.aws("sqs"), stage.aws("events")
    url = sqs.create_queue(QueueName=f"{stage.cluster}-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=stage.cluster, EventPattern=json.dumps({
        "source": ["aws.ecs"], "detail": {"lastStatus": ["STOPPED"], "stoppedReason": ["for the rule"]},
    }))  # fmt: skip
    events.put_targets(Rule=stage.cluster, Targets=[{"Id": "q", "Arn": arn}])
    stage.ecs.stop_task(cluster=stage.cluster, task=stage.run(stage.define()), reason="for the rule")

    message = wait_until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), "event")[0]
    assert json.loads(message["Body"])["detail-type"] == "ECS Task State Change"
