"""Test experiments on a real stack: guards, preview, start, stop, and the proof of the effect."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from kit import aws, collect, faults
from kit.errors import FaultError, UnsafeTarget
from kit.faults.guards import check_targets, describe_targets
from kit.faults.proofs import SKEW_S, ProofContext, proof_of
from kit.faults.proofs.balancer import prove_cut
from kit.faults.proofs.task_stops import prove_stopped
from kit.faults.tasks import TaskStop, _is_casualty
from kit.model import Deployment, FaultWindow
from tests.faults.proof_experiments import experiment
from tests.polling import wait_for_value, wait_until

STEADY_S_MAX = 60
WHOLE = {"api": 2, "matcher": 2, "relay": 2}
CUT = {"name": "Cut", "action_id": "aws:network:disrupt-connectivity", "targets": ["Subnets"], "status": "completed"}
STOP = {"name": "Stop", "action_id": "aws:ecs:stop-task", "targets": ["Tasks"], "status": "completed", "start": 100.0}


@pytest.fixture
def template_id(deployment: Deployment) -> str:
    return deployment.outputs["AzLossTemplateId"]


@pytest.fixture
def healed(local_session: aws.Session, deployment: Deployment) -> Iterator[None]:
    """Stop all experiments after the test, and wait until the shared stack has recovered."""
    yield
    faults.stop_all(local_session, deployment.run_id)

    def running() -> Counter[str]:
        found: Counter[str] = Counter()
        for row in collect.task_table(local_session, deployment).to_dict("records"):
            found[row["service"]] += row["running"]
        return found

    wait_for_value(running, WHOLE, "running tasks", STEADY_S_MAX, interval_s=0.5)


def copy_template(session: aws.Session, template_id: str, **changes: Any) -> str:
    """Copy the template with changes, and return the id of the copy."""
    fis = session.client("fis")
    old = fis.get_experiment_template(id=template_id)["experimentTemplate"]
    wanted = ("description", "targets", "actions", "stopConditions", "roleArn", "tags")
    tags = {key: value for key, value in old["tags"].items() if not key.startswith("aws:")}
    made = fis.create_experiment_template(
        clientToken=str(time.monotonic_ns()), **{**{key: old[key] for key in wanted}, "tags": tags, **changes}
    )
    return made["experimentTemplate"]["id"]


def test_a_preview_names_the_zones_tasks_and_subnet_and_stops_none(
    local_session: aws.Session, deployment: Deployment, template_id: str
):
    targets = faults.preview(local_session, template_id, deployment)
    services = sorted(target["service"] for target in targets if target["type"] == "aws:ecs:task")
    assert services == ["api", "matcher", "relay"]
    assert {target["zone"] for target in targets} == {deployment.outputs["FaultZone"]}
    assert deployment.outputs["AppSubnetA"] in {target["id"] for target in targets}
    assert sum(collect.task_table(local_session, deployment)["running"]) == sum(WHOLE.values())


def test_a_template_without_a_stop_condition_is_refused(
    local_session: aws.Session, deployment: Deployment, template_id: str
):
    unguarded = copy_template(local_session, template_id, stopConditions=[{"source": "none"}])
    with pytest.raises(UnsafeTarget, match=f"{unguarded} has no stop condition"):
        faults.start(local_session, unguarded, deployment)


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"RunId": "test-kit"}, "has no tag GameDay=allowed"),
        ({"RunId": "test-kit", "GameDay": "allowed", "Env": "prod"}, "has tag Env=prod"),
        ({"RunId": "other", "GameDay": "allowed"}, "belongs to run 'other', not to 'test-kit'"),
    ],
)
def test_a_template_of_another_run_is_refused(
    local_session: aws.Session, deployment: Deployment, template_id: str, tags: dict[str, str], told: str
):
    foreign = copy_template(local_session, template_id, tags=tags)
    with pytest.raises(UnsafeTarget, match=told):
        faults.start(local_session, foreign, deployment)


def test_targets_outside_the_run_are_refused_before_anything_starts(
    local_session: aws.Session, deployment: Deployment, template_id: str
):
    vpc = local_session.client("ec2").create_vpc(CidrBlock="10.99.0.0/16")["Vpc"]["VpcId"]
    subnet = local_session.client("ec2").create_subnet(VpcId=vpc, CidrBlock="10.99.0.0/24")["Subnet"]["SubnetId"]
    arn = f"arn:aws:ec2:{local_session.region}:{local_session.account_id}:subnet/{subnet}"
    target = {"resourceType": "aws:ec2:subnet", "resourceArns": [arn], "selectionMode": "ALL"}
    action = {
        "actionId": "aws:network:disrupt-connectivity",
        "parameters": {"duration": "PT5S", "scope": "all"},
        "targets": {"Subnets": "S"},
    }
    stray = copy_template(local_session, template_id, targets={"S": target}, actions={"A": action})
    with pytest.raises(UnsafeTarget, match=f"{subnet} has no tag GameDay=allowed"):
        faults.start(local_session, stray, deployment)
    assert faults.stop_all(local_session, deployment.run_id) == []


def test_a_target_whose_tags_are_unknown_is_refused():
    with pytest.raises(UnsafeTarget, match="target Others has no tag"):
        check_targets([{"name": "Others", "arn": "", "tags": {}}], "run")


def test_a_guardrail_in_alarm_is_an_error_before_the_experiment_starts(
    local_session: aws.Session, deployment: Deployment, template_id: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("kit.faults.experiments.GUARDRAIL_SETTLE_S_MAX", 1.0)
    cloudwatch = local_session.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="ringing", Namespace="N", MetricName="M", Period=10, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="LessThanThreshold", Statistic="Sum", TreatMissingData="breaching",
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName="ringing", StateValue="ALARM", StateReason="test")
    arn = cloudwatch.describe_alarms(AlarmNames=["ringing"])["MetricAlarms"][0]["AlarmArn"]
    guarded = copy_template(
        local_session, template_id, stopConditions=[{"source": "aws:cloudwatch:alarm", "value": arn}]
    )
    with pytest.raises(FaultError, match="guardrail ringing is in ALARM before the experiment"):
        faults.start(local_session, guarded, deployment)


def test_a_missing_template_is_a_fault_error(local_session: aws.Session, deployment: Deployment):
    with pytest.raises(FaultError, match="preview of EXTnone"):
        faults.preview(local_session, "EXTnone", deployment)


@pytest.mark.slow
def test_the_loss_of_a_zone_is_proven_without_fis(
    local_session: aws.Session, deployment: Deployment, template_id: str, healed: None
):
    watch = collect.TaskWatch.start(local_session, deployment)
    experiment = faults.start(local_session, template_id, deployment)
    states = [state.status for state in faults.watch(local_session, experiment, timeout_s=60)]

    def healed_window() -> FaultWindow | None:
        window = faults.prove(local_session, deployment, experiment, samples=watch)
        return window if window.healed_at is not None else None

    window = wait_until(healed_window, "the zone has healed", STEADY_S_MAX, interval_s=1)
    watch.stop()
    assert states[-1] == window.status == "completed"
    assert window.injected_at and window.observed_at and window.healed_at, window.actions
    assert window.injected_at - SKEW_S <= window.observed_at <= window.healed_at
    assert faults.unexplained_stops(local_session, deployment, window) == []


@pytest.mark.slow
def test_an_experiment_is_stopped_and_its_cut_is_undone(
    local_session: aws.Session, deployment: Deployment, template_id: str, healed: None
):
    experiment = faults.start(local_session, template_id, deployment)
    assert faults.stop_all(local_session, deployment.run_id) == [experiment.id]
    assert faults.stop(local_session, experiment.id).status == "stopped"
    assert faults.stop_all(local_session, deployment.run_id) == []


@pytest.mark.slow
def test_an_experiment_that_outlasts_its_time_is_stopped(
    local_session: aws.Session, deployment: Deployment, template_id: str, healed: None
):
    experiment = faults.start(local_session, template_id, deployment)
    with pytest.raises(FaultError, match="not over within 1 s"):
        list(faults.watch(local_session, experiment, timeout_s=1))
    assert faults.stop(local_session, experiment.id).status == "stopped"


class Recorded:
    """Recorded task samples: the number of healthy targets of one subnet by second."""

    def __init__(self, healthy: dict[float, int]) -> None:
        self._healthy = healthy

    def targets(self) -> pd.DataFrame:
        rows = [
            {"t": t, "subnet": "subnet-1", "zone": "a", "state": "healthy", "count": count}
            for t, count in self._healthy.items()
        ]
        return pd.DataFrame(rows)

    def tasks(self) -> pd.DataFrame:
        return pd.DataFrame(columns=pd.Index(["t", "zone", "service", "running"]))


def cut_context(deployment: Deployment, healthy: dict[float, int]) -> ProofContext:
    """Return the proof context of a cut of subnet-1 from 100 to 120."""
    target = {"name": "Subnets", "type": "aws:ec2:subnet", "arn": "arn:s", "id": "subnet-1", "zone": "a", "service": ""}
    cut = experiment({**CUT, "start": 100.0, "end": 120.0}, targets=[target])
    return ProofContext(session=None, deployment=deployment, experiment=cut, samples=Recorded(healthy))  # type: ignore[arg-type]


def seconds(start: int, end: int, count: int) -> dict[float, int]:
    return {float(t): count for t in range(start, end)}


PLAIN = Deployment(stack_name="s", run_id="r", api_url="")


def test_a_cut_is_proven_by_targets_that_become_unhealthy_and_recover():
    context = cut_context(PLAIN, seconds(90, 106, 2) | seconds(106, 125, 0) | seconds(125, 130, 2))
    found = prove_cut(context, context.experiment.actions[0])
    assert (found.observed_at, found.healed_at) == (106.0, 125.0)


@pytest.mark.parametrize(
    ("healthy", "told"),
    [
        (seconds(90, 130, 2), "2 healthy targets despite the cut"),
        (seconds(90, 101, 2) | seconds(101, 108, 0) | seconds(108, 130, 2), "2 healthy targets despite the cut"),
        (seconds(90, 130, 0), "no healthy target before the cut"),
        (seconds(90, 113, 2) | seconds(122, 130, 2), "samples < 3 during the cut"),
        ({}, "no healthy target before the cut"),
    ],
    ids=["no effect", "only the stopped tasks", "dead before", "not seen", "no samples"],
)
def test_a_cut_that_was_not_seen_is_not_proven(healthy: dict[float, int], told: str):
    context = cut_context(PLAIN, healthy)
    found = prove_cut(context, context.experiment.actions[0])
    assert found.observed_at is None
    assert told in found.detail


def test_a_cut_that_never_heals_is_observed_but_not_healed():
    context = cut_context(PLAIN, seconds(90, 106, 2) | seconds(106, 150, 0))
    found = prove_cut(context, context.experiment.actions[0])
    assert (found.observed_at, found.healed_at) == (106.0, None)


def test_tasks_that_still_run_do_not_prove_a_stop(local_session: aws.Session, deployment: Deployment):
    ecs, cluster = local_session.client("ecs"), deployment.outputs["ClusterName"]
    arn = ecs.list_tasks(cluster=cluster)["taskArns"][0]
    experiment = replace(
        cut_context(deployment, {}).experiment,
        actions=(STOP,),
        targets=({"name": "Tasks", "type": "aws:ecs:task", "arn": arn, "id": "", "zone": "", "service": ""},),
    )
    context = ProofContext(session=local_session, deployment=deployment, experiment=experiment, samples=None)
    found = prove_stopped(context, STOP)
    assert found.observed_at is None
    assert found.detail == "0 of 1 chosen tasks are seen stopped"


def test_an_action_without_a_proof_stays_unproven():
    context = cut_context(PLAIN, {})
    found = proof_of(context, {**CUT, "action_id": "aws:ec2:stop-instances"})
    assert found.observed_at is None
    assert found.detail == "there is no proof for aws:ec2:stop-instances"


@pytest.mark.parametrize(
    ("zone", "stopped_at", "casualty"),
    [("a", 110.0, True), ("a", 140.0, True), ("a", 99.0, False), ("a", 200.0, False), ("b", 110.0, False)],
)
def test_only_a_stop_in_the_lost_zone_and_in_its_time_is_explained(zone: str, stopped_at: float, casualty: bool):
    window = FaultWindow(
        experiment_id="E", template="T", status="completed", injected_at=100.0, ended_at=120.0, healed_at=125.0
    )
    stop = TaskStop(arn="t", service="api", zone=zone, code="EssentialContainerExited", reason="", exit_code=1,
                    stopped_at=stopped_at)  # fmt: skip
    assert _is_casualty(stop, window, {"a"}) is casualty


def test_one_resource_under_two_target_names_is_described_for_both(local_session: aws.Session, deployment: Deployment):
    """Actions of one experiment may choose the same task by different filters."""
    arn = local_session.client("ecs").list_tasks(cluster=deployment.outputs["ClusterName"])["taskArns"][0]
    resolved = [
        {"targetName": name, "resourceType": "aws:ecs:task", "targetInformation": {"arn": arn}}
        for name in ("ZoneTasks", "ZoneApiTasks")
    ]
    targets = describe_targets(local_session, resolved)
    assert [target["name"] for target in targets] == ["ZoneTasks", "ZoneApiTasks"]
    check_targets(targets, deployment.run_id)
    assert all(target["zone"] and target["service"] for target in targets)
