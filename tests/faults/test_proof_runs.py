"""Test verdicts on experiments against a real stack: one is aborted by a guardrail, one is disarmed.

The effect is observed from inside: a call with a task's own credentials hangs as long as the task is cut off.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config

from kit import aws, collect, faults, scenarios
from kit.gameday import findings
from kit.local.fis.disarm import FILE_NAME as DISARM
from kit.model import CheckKind, Deployment, FaultWindow, Finding, Status, Verdict
from kit.verdict import gate
from tests.polling import wait_for_value

pytestmark = pytest.mark.slow

LOSS = "aws:ecs:task-network-packet-loss"
UNDONE_S_MAX = 2.0
WAIT_S_MAX = 30.0


@pytest.fixture
def template_id(local_session: aws.Session, deployment: Deployment) -> Iterator[str]:
    """Create a template that drops all traffic of one API task to DynamoDB, for 3 s or until a guardrail stops it."""
    fis, name = local_session.client("fis"), collect.guardrails(deployment)[0]
    arn = local_session.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["AlarmArn"]
    zone = deployment.outputs["FaultZone"]
    made = fis.create_experiment_template(
        clientToken=str(time.monotonic_ns()), description="proofs", roleArn="arn:aws:iam::000000000000:role/fis",
        stopConditions=[{"source": "aws:cloudwatch:alarm", "value": arn}],
        targets={"Tasks": {
            "resourceType": "aws:ecs:task", "selectionMode": "ALL",
            "resourceTags": {"RunId": deployment.run_id, "Component": "api"},
            "filters": [{"path": "AvailabilityZone", "values": [zone]}],
        }},
        actions={"Cut": {
            "actionId": LOSS, "targets": {"Tasks": "Tasks"},
            "parameters": {"duration": "PT3S", "lossPercent": "100", "sources": "DYNAMODB"},
        }},
        tags={"GameDay": "allowed", "RunId": deployment.run_id},
    )["experimentTemplate"]["id"]  # fmt: skip
    yield made
    faults.stop_all(local_session, deployment.run_id)
    local_session.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="OK", StateReason="test over")


def environment_of(task_id: str) -> dict[str, str]:
    """Return the environment of a task's process, which holds its credentials."""
    for process in psutil.process_iter():
        try:
            environment = process.environ() if "paperbroker.main" in process.cmdline() else {}
        except psutil.Error:
            continue
        if task_id in environment.get("ECS_CONTAINER_METADATA_URI_V4", ""):
            return environment
    raise AssertionError(f"no process of task {task_id}")


class Probe:
    """One call to DynamoDB as a task, in a thread. `returned_at` is the time at which it completed."""

    def __init__(self, task_id: str) -> None:
        environment = environment_of(task_id)
        self._dynamodb = boto3.client(
            "dynamodb", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name="us-east-1",
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}, read_timeout=WAIT_S_MAX),
        )  # fmt: skip
        self.returned_at: float | None = None
        self._thread = threading.Thread(target=self._call, daemon=True)
        self._thread.start()

    def _call(self) -> None:
        self._dynamodb.list_tables()
        self.returned_at = time.time()

    def wait(self) -> float:
        self._thread.join(WAIT_S_MAX)
        assert self.returned_at is not None, "the call still hangs"
        return self.returned_at


def wait_running(session: aws.Session, experiment: faults.Experiment) -> dict[str, Any]:
    """Wait until the cut is in force, and return its only task."""
    fis = session.client("fis")
    wait_for_value(
        lambda: fis.get_experiment(id=experiment.id)["experiment"]["actions"]["Cut"]["state"]["status"], "running"
    )
    return fis.list_experiment_resolved_targets(experimentId=experiment.id)["resolvedTargets"][0]


def verdict_on(window: FaultWindow) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict of a run in which everything except the fault is good."""
    fine = [Finding(name="fine", kind=kind, status=Status.PASS, detail="") for kind in CheckKind]
    return gate.judge([*fine, *findings.fault_findings(scenarios.get("az-loss"), window)], window)


def prove(session: aws.Session, deployment: Deployment, experiment: faults.Experiment) -> FaultWindow:
    return faults.prove(session, deployment, experiment, meters=collect.Meters(session=session))


def test_a_guardrail_aborts_the_run_and_its_fault_is_undone_within_two_seconds(
    local_session: aws.Session, deployment: Deployment, template_id: str
):
    experiment = faults.start(local_session, template_id, deployment)
    target = wait_running(local_session, experiment)
    probe = Probe(target["targetInformation"]["arn"].rpartition("/")[2])
    time.sleep(0.3)
    assert probe.returned_at is None, "the cut is not in force"
    guardrail = collect.guardrails(deployment)[0]
    rang_at = time.time()
    local_session.client("cloudwatch").set_alarm_state(AlarmName=guardrail, StateValue="ALARM", StateReason="test")
    assert probe.wait() - rang_at <= UNDONE_S_MAX
    *_, last = faults.watch(local_session, experiment, timeout_s=WAIT_S_MAX)
    window = prove(local_session, deployment, experiment)
    assert (last.status, window.stopped_by) == ("stopped", guardrail)
    verdict, reasons = verdict_on(window)
    assert verdict is Verdict.ABORTED
    assert reasons[0].startswith(f"guardrail {guardrail} stopped experiment {experiment.id}")
    assert window.targets[0]["zone"] == deployment.outputs["FaultZone"] and window.actions[0]["proof"]


def test_a_disarmed_fault_leaves_the_run_invalid(
    local_cloud: aws.LocalCloud, local_session: aws.Session, deployment: Deployment, template_id: str
):
    """FIS reports a completed action with its full duration and targets, but nothing was cut."""
    assert faults.preview(local_session, template_id, deployment)
    switch = local_cloud.state_dir / DISARM
    switch.write_text(LOSS)
    try:
        experiment = faults.start(local_session, template_id, deployment)
        target = wait_running(local_session, experiment)
        Probe(target["targetInformation"]["arn"].rpartition("/")[2]).wait()
        *_, last = faults.watch(local_session, experiment, timeout_s=WAIT_S_MAX)
    finally:
        switch.unlink()
    window = prove(local_session, deployment, experiment)
    assert last.status == window.status == "completed"
    assert window.observed_at is None
    verdict, reasons = verdict_on(window)
    assert verdict is Verdict.INVALID
    assert any("was never observed" in reason for reason in reasons)
