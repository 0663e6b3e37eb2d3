"""Step Functions conducts game days: a bad change is blocked and told, a stop ends all, a good build passes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from kit import aws, deploy
from kit.cli.main import main
from kit.gameday import Parameters
from kit.load.artifacts import Artifacts
from kit.pipeline import conductor_stack, execution
from kit.pipeline.conduct import judge_conducted
from kit.pipeline.conducted_run import ConductedRun
from kit.pipeline.conductor_stack import Conductor
from tests.e2e.repetition import ATTEMPTS_MAX
from tests.polling import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHORT = {"steady_s": 15, "fault_duration_s": 12, "recovery_s": 30, "past_orders": 300, "rate_per_s": 20}
# Other processes of the machine must not keep it from getting its fault.
QUIET_RUN = {"rate_per_s": 10, "fault_duration_s": 60}
# From the stop of an execution to the end of its experiment.
STOPPED_S_MAX = 2.0
# Of an execution, so that it ends under its fault.
LIMIT_S = 60
# A load task drains and uploads what it has sent.
GONE_S_MAX = 70.0


@pytest.fixture(scope="module")
def cloud() -> Iterator[aws.LocalCloud]:
    with aws.start_local(seed=7) as started:
        yield started


@pytest.fixture(scope="module")
def session(cloud: aws.LocalCloud) -> aws.Session:
    return cloud.session()


@pytest.fixture(scope="module")
def conductor(session: aws.Session) -> Conductor:
    return conductor_stack.up(session)


@pytest.fixture(scope="module")
def messages(session: aws.Session, conductor: Conductor) -> Any:
    """Subscribe a queue to the conductor's topic; returns a function that receives what came."""
    sqs, sns = session.client("sqs"), session.client("sns")
    url = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=conductor.topic, Protocol="sqs", Endpoint=arn)

    def received() -> list[dict[str, Any]]:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", [])
        return [json.loads(one["Body"]) for one in found]

    return received


def conducted(cloud: aws.LocalCloud, reports: Path, run_id: str, **given: Any) -> ConductedRun:
    chosen: dict[str, Any] = {**SHORT, **given}
    parameters = Parameters(scenario="az-loss", reports=reports, run_id=run_id, **chosen)
    # The local AWS is that of all tests, and not the run's own.
    return ConductedRun(parameters, say=print, connect=lambda _: (cloud.session(), None), members=[cloud.pid])


def run(day: ConductedRun, on_step: Any = lambda step: None) -> dict[str, Any]:
    try:
        day.deploy()
        day.start()
        day.follow(on_step=on_step)
        return day.fetch()
    finally:
        assert day.close() == []


def open_items(session: aws.Session) -> list[dict[str, Any]]:
    filters = [
        {"Key": "Source", "Operator": "Equal", "Values": ["gameday-pipeline"]},
        {"Key": "Status", "Operator": "Equal", "Values": ["Open"]},
    ]
    return session.client("ssm").describe_ops_items(OpsItemFilters=filters)["OpsItemSummaries"]


def live_tasks(session: aws.Session, conductor: Conductor) -> list[dict[str, Any]]:
    ecs = session.client("ecs")
    arns = [
        arn
        for status in ("RUNNING", "STOPPED")
        for arn in ecs.list_tasks(cluster=conductor.cluster, desiredStatus=status)["taskArns"]
    ]
    found = ecs.describe_tasks(cluster=conductor.cluster, tasks=arns)["tasks"] if arns else []
    return [task for task in found if task["lastStatus"] != "STOPPED"]


def test_a_bad_change_is_blocked_and_told(cloud, session, conductor, messages, tmp_path):
    day = conducted(cloud, tmp_path, "bad-1", change="drop-idempotency", load_tasks=2)
    record = run(day)
    assert record["verdict"] == "FAIL", record["reasons"]
    assert day.ending is not None and (day.ending.status, day.ending.error) == ("FAILED", "GameDay.FAIL")
    # The judge and the function have both seen it, each by itself.
    judged = {check["name"]: check["measured"] for check in record["checks"] if check["status"] == "fail"}
    assert judged["no-double-fill"] > 0
    artifacts = Artifacts(s3=session.client("s3"), bucket=conductor.bucket, run_id="bad-1")
    rules = (artifacts.get_json("conducted.json") or {})["steadyState"]["details"]["ledger"]["rules"]
    assert {one["name"]: one["violations"] for one in rules}["no-double-fill"] > 0
    # The folder is judged by the one path that judges every folder.
    assert main(["check", str(day.run_dir)]) == main(["gate", str(day.run_dir)]) == 1
    _assert_item_resolves(session, artifacts)
    (message,) = messages()
    assert message["Subject"].startswith("Game day az-loss: FAIL: ") and "bad-1" in message["Message"]


def _assert_item_resolves(session: aws.Session, artifacts: Artifacts) -> None:
    """There is one open OpsItem, and whatever it links to is there."""
    (item,) = open_items(session)
    assert item["Title"].startswith("Game day az-loss: FAIL: ")
    data = {name: each["Value"] for name, each in item["OperationalData"].items()}
    for name in ("report", "experiment", "diagnostics"):
        bucket, _, key = data[name].removeprefix("s3://").partition("/")
        assert artifacts.s3.head_object(Bucket=bucket, Key=key)["ContentLength"] > 0, name
    described = session.client("stepfunctions").describe_execution(executionArn=data["execution"])
    assert described["status"] == "FAILED"


def test_a_stop_under_the_fault_ends_experiment_and_load(cloud, session, conductor, messages, tmp_path):
    reasons: list[str] = []

    def attempt(number: int) -> bool:
        """Stop a run as soon as its experiment is seen; False if it was not steady enough to get one."""
        day = conducted(cloud, tmp_path, f"stopped-{number}", **QUIET_RUN)
        stopped: list[str] = []

        def stop_under_fault(step: execution.Step) -> None:
            if step.state == "WaitForExperiment" and not stopped:
                stopped.append(day.execution)
                execution.stop(session, day.execution, cause="by a test")
                wait_until(lambda: not _open_experiments(session, day), "the end of the experiment", STOPPED_S_MAX)
                wait_until(lambda: not live_tasks(session, conductor), "the end of all tasks", GONE_S_MAX)

        record = run(day, stop_under_fault)
        reasons.extend(record["reasons"][:2])
        if stopped:
            assert (record["verdict"], day.ending and day.ending.status) == ("INVALID", "ABORTED")
            assert not [
                p for p in psutil.process_iter(["cmdline"]) if day.parameters.run_id in (p.info["cmdline"] or [])
            ]
            assert any(day.parameters.run_id in one["Message"] and "ABORTED" in one["Message"] for one in messages())
        return bool(stopped)

    assert any(attempt(number) for number in range(ATTEMPTS_MAX)), reasons


def test_an_execution_that_takes_too_long_ends_experiment_and_load_and_is_told(
    cloud, session, conductor, messages, tmp_path
):
    states = session.client("stepfunctions")
    definition = json.loads(states.describe_state_machine(stateMachineArn=conductor.state_machine)["definition"])

    reasons: list[str] = []

    def attempt(number: int) -> bool:
        """Let a run exceed the limit of its machine; False if it was not steady enough to last so long."""
        day = conducted(cloud, tmp_path, f"late-{number}", **QUIET_RUN)
        record = run(day)
        reasons.extend(record["reasons"][:2])
        assert record["verdict"] != "PASS" and _open_experiments(session, day, any_number=True) == []
        return day.ending is not None and day.ending.status == "TIMED_OUT"

    states.update_state_machine(
        stateMachineArn=conductor.state_machine, definition=json.dumps(definition | {"TimeoutSeconds": LIMIT_S})
    )
    try:
        assert any(attempt(number) for number in range(ATTEMPTS_MAX)), reasons
    finally:
        states.update_state_machine(stateMachineArn=conductor.state_machine, definition=json.dumps(definition))
    wait_until(lambda: not live_tasks(session, conductor), "the end of all tasks", GONE_S_MAX)
    title = "Game day az-loss: INVALID: execution TIMED_OUT"
    wait_until(lambda: title in [one["Title"] for one in open_items(session)], "the OpsItem", 10)
    assert title in [one.get("Subject") for one in messages()]


def _open_experiments(session: aws.Session, day: ConductedRun, *, any_number: bool = False) -> list[str]:
    found = session.client("fis").list_experiments()["experiments"]
    mine = [one for one in found if one.get("tags", {}).get("RunId") == day.parameters.run_id]
    assert mine or any_number
    return [one["id"] for one in mine if one["state"]["status"] not in ("completed", "stopped", "failed", "cancelled")]


def test_a_good_build_passes_and_resolves_what_was_open(cloud, session, tmp_path):
    item = {"Source": "gameday-pipeline", "Description": "d"}
    session.client("ssm").create_ops_item(Title="Game day az-loss: FAIL: of an earlier run", **item)
    session.client("ssm").create_ops_item(Title="Game day api-latency: FAIL: of another scenario", **item)

    for number in range(ATTEMPTS_MAX):
        day = conducted(cloud, tmp_path, f"good-{number}")
        record = run(day)
        # On a machine that is too busy, a run is not steady or under the noise rule.
        if record["verdict"] != "INVALID":
            break
    assert record["verdict"] == "PASS", record["reasons"]
    assert day.ending is not None and day.ending.status == "SUCCEEDED"
    assert [one["Title"] for one in open_items(session)] == ["Game day api-latency: FAIL: of another scenario"]
    for name in ("report.html", "junit.xml", "fis-experiment.json", "state-machine-history.json", "load-summary.json"):
        assert (day.run_dir / name).stat().st_size > 0, name
    assert judge_conducted(day.run_dir) == record
    assert main(["check", str(day.run_dir)]) == main(["gate", str(day.run_dir)]) == 0
    assert deploy.find_stacks(session, run_id=day.parameters.run_id) == []
