"""Test proofs of task faults by ECS's reasons for the end of tasks."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import pytest

from kit import aws
from kit.faults import tasks
from kit.faults.proofs import Proof
from kit.faults.tasks import TaskLife, TaskStop
from kit.model import Deployment
from tests.faults.proof_experiments import CLUSTER, FakeEcs, prove_action
from tests.polling import wait_until

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/paperbroker-base:latest"
FAILED = "Task failed ELB health checks in (target-group arn:g)"


def proven(session: Any, kind: str, arns: list[str], start: float, *, signal: str = "SIGKILL") -> Proof:
    """Prove an action of this kind by these tasks."""
    action = {
        "name": "Hit", "action_id": f"aws:ecs:task-{kind}", "targets": ["Tasks"], "status": "completed",
        "parameters": {"trafficType": "ingress", "signal": signal},
    }  # fmt: skip
    targets = tuple(
        {"name": "Tasks", "type": "aws:ecs:task", "arn": arn, "id": "", "zone": "", "service": ""} for arn in arns
    )
    return prove_action(session, {**action, "start": start, "end": start}, targets=targets)


def test_a_kill_is_proven_by_tasks_whose_container_exited(local_session: aws.Session) -> None:
    """Two tasks run the same program: FIS kills it in one, StopTask ends the other, which proves no kill."""
    ecs, fis = local_session.client("ecs"), local_session.client("fis")
    ecs.create_cluster(clusterName=CLUSTER)
    container = {"name": "main", "image": IMAGE, "command": ["sleep", "600"], "stopTimeout": 2}
    ecs.register_task_definition(
        family="proofs", networkMode="awsvpc", cpu="256", memory="512", containerDefinitions=[container]
    )
    subnets = [each["SubnetId"] for each in local_session.client("ec2").describe_subnets()["Subnets"]]
    run = {"launchType": "FARGATE", "networkConfiguration": {"awsvpcConfiguration": {"subnets": subnets[:1]}}}
    started = ecs.run_task(cluster=CLUSTER, taskDefinition="proofs", count=2, **run)["tasks"]
    killed, told = (task["taskArn"] for task in started)

    def statuses() -> set[str]:
        return {task["lastStatus"] for task in ecs.describe_tasks(cluster=CLUSTER, tasks=[killed, told])["tasks"]}

    wait_until(lambda: statuses() == {"RUNNING"}, "both run")
    start = time.time()
    assert proven(local_session, "kill-process", [killed], start).detail == "0 of 1 chosen tasks are seen exited"
    template = fis.create_experiment_template(
        description="kill", roleArn="arn:aws:iam::000000000000:role/fis", stopConditions=[{"source": "none"}],
        targets={"Tasks": {"resourceType": "aws:ecs:task", "resourceArns": [killed], "selectionMode": "ALL"}},
        actions={"Hit": {
            "actionId": "aws:ecs:task-kill-process", "targets": {"Tasks": "Tasks"},
            "parameters": {"processName": "sleep", "signal": "SIGKILL"},
        }},
    )["experimentTemplate"]["id"]  # fmt: skip
    fis.start_experiment(experimentTemplateId=template)
    ecs.stop_task(cluster=CLUSTER, task=told)
    wait_until(lambda: statuses() == {"STOPPED"}, "both stopped")
    found = proven(local_session, "kill-process", [killed], start)
    assert found.observed_at is not None and found.observed_at >= start - 1
    assert found.detail == "ECS: 1 of 1 chosen tasks exited, never seen replaced"
    assert proven(local_session, "kill-process", [told], start).observed_at is None
    assert proven(local_session, "kill-process", [killed], start + 60).observed_at is None


@pytest.mark.parametrize(
    ("kind", "code", "reason", "is_proven"),
    [
        ("network-blackhole-port", "ServiceSchedulerInitiated", FAILED, True),
        ("network-blackhole-port", "ServiceSchedulerInitiated", "Scaling activity initiated by deployment", False),
        ("network-blackhole-port", "EssentialContainerExited", "Essential container in task exited", False),
        ("kill-process", "ServiceSchedulerInitiated", FAILED, False),
        ("kill-process", "EssentialContainerExited", "Essential container in task exited", True),
    ],
)
def test_a_stop_proves_only_the_fault_that_causes_it(
    kind: str, code: str, reason: str, is_proven: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stopped reason of ECS decides which fault is proven."""
    stop = TaskStop(arn="t", service="api", zone="a", code=code, reason=reason, exit_code=None, stopped_at=105.0)
    monkeypatch.setattr(tasks, "describe", lambda *_: {"t": stop})
    assert (proven(None, kind, ["t"], 100.0).observed_at == 105.0) is is_proven


@pytest.mark.parametrize(
    ("code", "reason", "is_proven"),
    [
        ("EssentialContainerExited", "Essential container in task exited", True),
        ("ServiceSchedulerInitiated", FAILED, True),
        ("ServiceSchedulerInitiated", "Scaling activity initiated by deployment", False),
        ("UserInitiated", "", False),
    ],
)
def test_a_process_that_gets_sigterm_exits_or_fails_its_health_checks(
    code: str, reason: str, is_proven: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may keep serving until load balancer and ECS have noticed."""
    stop = TaskStop(arn="t", service="api", zone="a", code=code, reason=reason, exit_code=0, stopped_at=105.0)
    monkeypatch.setattr(tasks, "describe", lambda *_: {"t": stop})
    assert (proven(None, "kill-process", ["t"], 100.0, signal="SIGTERM").observed_at == 105.0) is is_proven


class Complete:
    """Samples in which every service is complete all the time."""

    def tasks(self) -> pd.DataFrame:
        return pd.DataFrame({"t": [90.0, 130.0], "zone": "a", "service": "api", "running": 1})

    def targets(self) -> pd.DataFrame:
        return pd.DataFrame()


def replaced(monkeypatch: pytest.MonkeyPatch, *lives: TaskLife) -> Proof:
    """Prove a deployment that began at 100, from these lives of tasks."""
    monkeypatch.setattr(tasks, "lives", lambda *_: list(lives))
    action = {
        "name": "Deploy", "action_id": "aws:ssm:start-automation-execution", "targets": [], "status": "completed",
        "start": 100.0, "end": 120.0,
    }  # fmt: skip
    return prove_action(FakeEcs({"api": 1}), action, samples=Complete(), evidence={"Deploy": "api-replaced"})


def life(started_at: float, leaves_at: float | None = None, code: str = "ServiceSchedulerInitiated") -> TaskLife:
    """Return a task that takes five seconds to stop."""
    stop = TaskStop(
        arn="t", service="api", zone="a", code=code, reason="", exit_code=0,
        stopping_at=leaves_at, stopped_at=None if leaves_at is None else leaves_at + 5,
    )  # fmt: skip
    return TaskLife(arn="t", started_at=started_at, stop=None if leaves_at is None else stop)


def test_a_deployment_is_proven_by_the_tasks_that_it_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    found = replaced(monkeypatch, life(10, 112), life(11, 113), life(104), life(105))
    assert (found.observed_at, found.healed_at) == (112, 130)
    assert found.detail == "ECS: 2 of 2 api tasks were stopped by their service, 2 others started, complete again"


@pytest.mark.parametrize(
    "lives",
    [
        [],
        [life(10), life(11)],
        [life(10, 112), life(11), life(104)],
        [life(10, 112), life(11, 113), life(104)],
        [life(10, 112, "EssentialContainerExited"), life(104)],
        [life(10, 90), life(91)],
    ],
    ids=["nobody", "nothing-happened", "half", "fewer-came", "crashed", "before"],
)
def test_what_is_no_deployment_proves_none(lives: list[TaskLife], monkeypatch: pytest.MonkeyPatch) -> None:
    assert replaced(monkeypatch, *lives).observed_at is None


def test_the_lives_of_a_services_tasks_are_read_from_ecs(local_session: aws.Session, deployment: Deployment) -> None:
    """Only tasks of this service are read, each with the time of its start."""
    found = tasks.lives(local_session, deployment, deployment.outputs["ApiServiceName"])
    running = [life for life in found if life.stop is None]
    assert len(running) == 2
    assert all(life.started_at is not None and time.time() - life.started_at < 3600 for life in running)
