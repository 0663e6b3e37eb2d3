"""FIS experiments through boto3: states, order, undo, stop conditions, lever, events, logs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kit.aws import start_local
from kit.local.fis.journal import FILE_NAME, Journal
from tests.local.conftest import RunningCloud
from tests.local.fis_rig import FisRig, disrupt, stop_on, subnets_by_tag, wait_action
from tests.polling import CLOCK_STEP_S, wait_until

pytestmark = pytest.mark.usefixtures("no_experiment_left")


def states(experiment: dict[str, Any]) -> dict[str, str]:
    return {name: action["state"]["status"] for name, action in experiment["actions"].items()}


def test_actions_run_in_their_order_and_the_experiment_completes(rig: FisRig) -> None:
    """`startAfter` waits for completion, each action keeps its duration, and times are in order."""
    actions = {"one": wait_action(0.3), "two": wait_action(0.2, startAfter=["one"]), "beside": wait_action(0.1)}
    experiment = rig.run(actions=actions)
    assert experiment["state"] == {"status": "completed", "reason": "Experiment completed."}
    assert set(states(experiment).values()) == {"completed"}
    one, two, beside = (experiment["actions"][name] for name in ("one", "two", "beside"))
    assert (one["endTime"] - one["startTime"]).total_seconds() >= 0.3 - CLOCK_STEP_S
    assert two["startTime"] >= one["endTime"]
    assert beside["startTime"] < one["endTime"]
    assert experiment["creationTime"] <= experiment["startTime"] <= one["startTime"]
    assert two["endTime"] <= experiment["endTime"]


def test_stop_undoes_running_actions_and_cancels_waiting_ones(rig: FisRig) -> None:
    """The running action is stopped, the waiting one is cancelled, and a second stop is refused."""
    tag, _ = rig.subnets("a")
    actions = {"cut": disrupt(), "later": wait_action(startAfter=["cut"])}
    experiment_id = rig.running(actions=actions, targets={"Subnets": subnets_by_tag(tag)})
    stopping = rig.fis.stop_experiment(id=experiment_id)["experiment"]
    assert stopping["state"]["status"] == "stopping"
    experiment = rig.end(experiment_id)
    assert experiment["state"]["status"] == "stopped"
    assert states(experiment) == {"cut": "stopped", "later": "cancelled"}
    with pytest.raises(ClientError, match="cannot be stopped"):
        rig.fis.stop_experiment(id=experiment_id)


def test_an_alarm_stops_the_experiment_at_once(rig: FisRig) -> None:
    """Within 250 ms of the alarm the experiment is stopped and its faults are undone."""
    arn, other = rig.alarm(), rig.alarm()
    experiment_id = rig.running(actions={"wait": wait_action(60)}, stopConditions=stop_on(other, arn))
    rig.set_alarm(arn, "ALARM")
    turned = time.time()
    experiment = rig.end(experiment_id)
    assert experiment["state"] == {"status": "stopped", "reason": "Experiment halted by stop condition."}
    assert experiment["endTime"].timestamp() - turned < 0.25
    assert states(experiment) == {"wait": "stopped"}


def test_an_alarm_that_is_already_in_alarm_stops_it_before_any_action(rig: FisRig) -> None:
    """The experiment is stopped and no fault is injected."""
    experiment = rig.run(actions={"wait": wait_action(60)}, stopConditions=stop_on(rig.alarm("ALARM")))
    assert (experiment["state"]["status"], states(experiment)) == ("stopped", {"wait": "cancelled"})


def test_a_guardrail_that_does_not_exist_fails_the_experiment(rig: FisRig) -> None:
    """A misspelt alarm must not look like one that is OK."""
    missing = "arn:aws:cloudwatch:us-east-1:000000000000:alarm:misspelt"
    experiment = rig.run(stopConditions=stop_on(missing))
    assert experiment["state"]["status"] == "failed"
    assert experiment["state"]["error"]["code"] == "ConfigurationFailure"


def test_the_first_failed_action_ends_the_experiment(rig: FisRig) -> None:
    """The experiment fails with the action's error. Running actions are stopped, waiting ones are cancelled."""
    alarm = rig.alarm("OK")
    check = {
        "actionId": "aws:cloudwatch:assert-alarm-state",
        "parameters": {"alarmArns": alarm, "alarmStates": "ALARM"},
    }
    actions = {
        "short": wait_action(0.2),
        "check": {**check, "startAfter": ["short"]},
        "long": wait_action(60),
        "never": wait_action(startAfter=["long"]),
    }
    experiment = rig.run(actions=actions)
    assert states(experiment) == {"short": "completed", "check": "failed", "long": "stopped", "never": "cancelled"}
    assert experiment["state"]["status"] == "failed"
    assert experiment["state"]["error"]["location"] == "action/check"
    assert "is OK, not ALARM" in experiment["actions"]["check"]["state"]["reason"]


def test_an_alarm_in_the_asserted_state_lets_the_experiment_go_on(rig: FisRig) -> None:
    """The action assert-alarm-state completes."""
    parameters = {"alarmArns": rig.alarm("OK"), "alarmStates": "OK,INSUFFICIENT_DATA"}
    check = {"actionId": "aws:cloudwatch:assert-alarm-state", "parameters": parameters}
    assert rig.run(actions={"check": check})["state"]["status"] == "completed"


def test_an_action_that_the_local_aws_lacks_fails_by_name(rig: FisRig) -> None:
    """An action that is not supported never completes silently."""
    target = {"resourceType": "aws:rds:cluster", "resourceTags": {"a": "b"}, "selectionMode": "ALL"}
    action = {"actionId": "aws:rds:failover-db-cluster", "targets": {"Clusters": "Db"}}
    experiment = rig.run(actions={"failover": action}, targets={"Db": target})
    assert experiment["state"]["error"]["code"] == "ConfigurationFailure"
    assert "aws:rds:failover-db-cluster" in experiment["actions"]["failover"]["state"]["reason"]


def test_skip_all_previews_the_targets(rig: FisRig) -> None:
    """Targets are resolved with their filters and parameters, but no action runs."""
    tag, subnets = rig.subnets("ab", 2)
    zone_a = subnets_by_tag(tag, filters=[{"path": "AvailabilityZone", "values": ["us-east-1a"]}])
    zone_b = subnets_by_tag(tag, parameters={"availabilityZoneIdentifier": "us-east-1b"})
    template_id = rig.template(actions={"a": disrupt("A"), "b": disrupt("B")}, targets={"A": zone_a, "B": zone_b})
    experiment = rig.end(rig.start(template_id, experimentOptions={"actionsMode": "skip-all"}))
    assert experiment["state"]["status"] == "completed"
    assert set(states(experiment).values()) == {"skipped"}
    assert experiment["experimentOptions"]["actionsMode"] == "skip-all"

    def arns(name: str) -> set[str]:
        found = rig.fis.list_experiment_resolved_targets(experimentId=experiment["id"], targetName=name)
        return {each["targetInformation"]["arn"].rpartition("/")[2] for each in found["resolvedTargets"]}

    assert (arns("A"), arns("B")) == (set(subnets[:2]), set(subnets[2:]))


@pytest.mark.slow
def test_the_seed_chooses_the_same_targets_again(start_cloud: Callable[..., Any]) -> None:
    """Two clouds of one seed choose the same targets although every id differs."""

    def chosen(one: FisRig) -> list[list[str]]:
        tag, subnets = one.subnets("abc", 4)
        template_id = one.template(actions={"a": disrupt()}, targets={"Subnets": subnets_by_tag(tag, "PERCENT(30)")})
        rounds = []
        for _ in range(3):
            experiment = one.end(one.start(template_id, experimentOptions={"actionsMode": "skip-all"}))
            found = one.fis.list_experiment_resolved_targets(experimentId=experiment["id"])["resolvedTargets"]
            ids = [each["targetInformation"]["arn"].rpartition("/")[2] for each in found]
            rounds.append([subnets.index(each) for each in ids])
        return rounds

    first, second = (chosen(FisRig(start_cloud(seed=11))) for _ in range(2))
    assert first == second
    assert {len(each) for each in first} == {3}
    assert len({tuple(each) for each in first}) > 1


@pytest.mark.parametrize(("mode", "status"), [("fail", "failed"), ("skip", "completed")])
def test_an_empty_target_fails_the_experiment_or_skips_the_action(rig: FisRig, mode: str, status: str) -> None:
    """By emptyTargetResolutionMode, the experiment fails with InvalidTarget, or the action is skipped."""
    experiment = rig.run(
        actions={"cut": disrupt(), "wait": wait_action(0.1, startAfter=["cut"])},
        targets={"Subnets": subnets_by_tag("nothing-has-this")},
        experimentOptions={"emptyTargetResolutionMode": mode},
    )
    assert experiment["state"]["status"] == status
    if mode == "fail":
        assert experiment["state"]["error"]["code"] == "InvalidTarget"
        assert states(experiment) == {"cut": "cancelled", "wait": "cancelled"}
    else:
        assert states(experiment) == {"cut": "skipped", "wait": "completed"}


def test_an_arn_that_does_not_exist_is_an_invalid_target(rig: FisRig) -> None:
    """Also when another one is."""
    arns = [f"arn:aws:ec2:us-east-1:000000000000:subnet/{name}" for name in (rig.subnets("a")[1][0], "subnet-0")]
    target = {"resourceType": "aws:ec2:subnet", "resourceArns": arns, "selectionMode": "ALL"}
    experiment = rig.run(actions={"cut": disrupt()}, targets={"Subnets": target})
    assert experiment["state"]["error"]["code"] == "InvalidTarget"
    assert "subnet-0 does not exist" in experiment["state"]["reason"]


def test_the_safety_lever_stops_running_and_cancels_new_experiments(rig: FisRig) -> None:
    """Moving the lever needs a reason. After it is disengaged, experiments run again."""
    running = rig.running(actions={"wait": wait_action(60)})
    with pytest.raises(ClientError, match="reason"):
        rig.fis.update_safety_lever_state(id="default", state={"status": "engaged", "reason": " "})
    rig.fis.update_safety_lever_state(id="default", state={"status": "engaged", "reason": "real incident"})
    wait_until(lambda: rig.fis.get_safety_lever(id="default")["safetyLever"]["state"]["status"] == "engaged", "engaged")
    try:
        assert rig.status(running) == "stopped"
        assert rig.run()["state"]["status"] == "cancelled"
    finally:
        rig.fis.update_safety_lever_state(id="default", state={"status": "disengaged", "reason": "over"})
    assert rig.run()["state"]["status"] == "completed"
    with pytest.raises(ClientError, match="does not exist"):
        rig.fis.get_safety_lever(id="other")


def test_at_most_five_experiments_are_active(rig: FisRig) -> None:
    """The sixth experiment is refused with status 402."""
    template_id = rig.template(actions={"wait": wait_action(60)})
    for _ in range(5):
        rig.start(template_id)
    with pytest.raises(ClientError) as caught:
        rig.start(template_id)
    assert caught.value.response["Error"]["Code"] == "ServiceQuotaExceededException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 402


def test_events_and_logs_carry_every_state_and_step(rig: FisRig) -> None:
    """EventBridge gets each state, and the log group gets each step in schema version 2."""
    events, sqs, logs = (rig.cloud.client(each) for each in ("events", "sqs", "logs"))
    queue_url = sqs.create_queue(QueueName="fis-events")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="fis", EventPattern=json.dumps({"source": ["aws.fis"]}))
    events.put_targets(Rule="fis", Targets=[{"Id": "q", "Arn": queue}])
    logs.create_log_group(logGroupName="/fis")
    group = {"logGroupArn": "arn:aws:logs:us-east-1:000000000000:log-group:/fis:*"}
    tag, _ = rig.subnets("a")
    experiment = rig.run(
        actions={"cut": disrupt(seconds=0.2)},
        targets={"Subnets": subnets_by_tag(tag)},
        logConfiguration={"logSchemaVersion": 2, "cloudWatchLogsConfiguration": group},
    )
    seen: list[dict[str, Any]] = []

    def all_seen() -> bool:
        got = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", [])
        seen.extend(json.loads(message["Body"]) for message in got)
        return len(seen) >= 3

    wait_until(all_seen, "three state changes")
    assert {each["detail-type"] for each in seen} == {"FIS Experiment State Change"}
    changes = {(each["detail"]["old-state"]["status"], each["detail"]["new-state"]["status"]) for each in seen}
    assert changes == {("pending", "initiating"), ("initiating", "running"), ("running", "completed")}
    records = [
        json.loads(each["message"])
        for each in logs.get_log_events(logGroupName="/fis", logStreamName=f"/aws/fis/{experiment['id']}")["events"]
    ]
    assert {(each["id"], each["version"]) for each in records} == {(experiment["id"], "2")}
    assert [each["log_type"] for each in records] == [
        "experiment-start", "target-resolution-start", "target-resolution-detail", "target-resolution-end",
        "action-start", "action-end", "experiment-end",
    ]  # fmt: skip
    assert records[4]["details"]["parameters"]["scope"] == "all"
    assert records[-1]["details"]["experiment_state"]["status"] == "completed"


def test_logs_that_cannot_be_delivered_fail_the_experiment(rig: FisRig) -> None:
    """A missing log group or bucket fails the experiment at its start."""
    group = {"logGroupArn": "arn:aws:logs:us-east-1:000000000000:log-group:/none:*"}
    for where in ({"cloudWatchLogsConfiguration": group}, {"s3Configuration": {"bucketName": "no-such-bucket"}}):
        experiment = rig.run(logConfiguration={"logSchemaVersion": 2, **where})
        assert experiment["state"]["error"]["code"] == "ConfigurationFailure"


def test_step_functions_can_start_an_experiment(rig: FisRig) -> None:
    """arn:aws:states:::aws-sdk:fis:startExperiment, as on AWS."""
    template_id = rig.template()
    task = {
        "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:fis:startExperiment", "End": True,
        "Parameters": {"ClientToken.$": "$$.Execution.Name", "ExperimentTemplateId": template_id},
    }  # fmt: skip
    states_client = rig.cloud.client("stepfunctions")
    machine = states_client.create_state_machine(
        name="fis", roleArn="arn:aws:iam::000000000000:role/sfn",
        definition=json.dumps({"StartAt": "Start", "States": {"Start": task}}),
    )["stateMachineArn"]  # fmt: skip
    execution = states_client.start_execution(stateMachineArn=machine)["executionArn"]
    wait_until(
        lambda: states_client.describe_execution(executionArn=execution)["status"] != "RUNNING", "execution ended"
    )
    described = states_client.describe_execution(executionArn=execution)
    assert described["status"] == "SUCCEEDED", described
    listed = rig.fis.list_experiments(experimentTemplateId=template_id)["experiments"]
    assert len(listed) == 1
    rig.end(listed[0]["id"])


def test_a_fault_outlives_neither_a_kill_nor_a_stop(tmp_path: Path) -> None:
    """SIGKILL leaves the change in the journal and the next start undoes it; SIGTERM undoes before the end."""
    state_dir, log = tmp_path / "state", tmp_path / "log"
    state_dir.mkdir()
    (state_dir / "kept").touch()  # a folder that held something is not removed with its cloud
    journal = state_dir / FILE_NAME

    def cut(cloud: Any) -> None:
        rig = FisRig(RunningCloud.of(cloud, log))
        tag, _ = rig.subnets("a")
        rig.running(actions={"cut": disrupt()}, targets={"Subnets": subnets_by_tag(tag)})
        wait_until(lambda: "remember" in journal.read_text().splitlines()[-1], "the change is written down")

    with start_local(state_dir, log=log) as cloud:
        cut(cloud)
        os.kill(cloud.pid, signal.SIGKILL)
    assert "forget" not in journal.read_text()
    with start_local(state_dir, log=log) as cloud:
        assert "forget" in journal.read_text()
        cut(cloud)
    assert Journal(state_dir).load() == []
