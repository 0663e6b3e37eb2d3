"""Test the real stack on the local AWS: created, serving, and the errors of a failed stack."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from kit import aws, build, deploy, scenarios
from kit.errors import DeployFailed, UnsafeTarget, UsageError
from kit.model import Deployment

SOURCE = Path(__file__).parents[2] / "paperbroker"
TEMPLATE = SOURCE / "deploy" / "stack.yaml"
OUTPUTS = {
    "ApiUrl", "ClusterName", "ApiServiceName", "MatcherServiceName", "RelayServiceName", "OrdersTable", "OutboxTable",
    "LedgerTable", "MarketsTable", "PositionsTable", "AppliedTable", "QueueUrl", "DeadLetterQueueUrl",
    "AzLossTemplateId", "NetworkImpairmentTemplateId", "DataThrottlingTemplateId", "ApiLatencyTemplateId",
    "DependencyLossTemplateId", "MatcherFreezeTemplateId", "SteadyStateTemplateId", "StoreCutTemplateId",
    "RollingDeployTemplateId", "AzLossThrottledTemplateId", "DeployLatencyTemplateId", "SlowCommitsTemplateId",
    "ApiTerminationTemplateId", "UnusualAnswersTemplateId", "SlowNamesTemplateId",
    "GuardrailAlarms", "DashboardName", "LogGroupName",
    "LoadBalancerFullName", "TargetGroupArn", "TargetGroupFullName", "FaultZone", "AppSubnetA", "AppSubnetB", "Markets",
    "MetricsEnv",
}  # fmt: skip
TWO_PARAMETERS = "Parameters: {RunId: {Type: String}, ImageUri: {Type: String}}"
BAD_EXPERIMENT = """
Resources:
  Good: {Type: 'AWS::SNS::Topic'}
  Bad:
    Type: AWS::FIS::ExperimentTemplate
    DependsOn: Good
    Properties:
      Description: no such action
      RoleArn: arn:aws:iam::000000000000:role/x
      Targets: {}
      StopConditions: [{Source: none}]
      Actions: {A: {ActionId: 'aws:ecs:no-such-action'}}
      Tags: {Name: x}
"""


def order(deployment: Deployment, **fields: object) -> tuple[int, dict]:
    """Post one order and return status and body."""
    body = {"clientId": "c1", "symbol": "ACME", "side": "BUY", "type": "LIMIT", "qty": 2, "price": 100, **fields}
    request = urllib.request.Request(
        f"{deployment.api_url}/orders", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def make_stack(session: aws.Session, name: str, tags: dict[str, str]) -> None:
    client = session.client("cloudformation")
    client.create_stack(
        StackName=name,
        TemplateBody="Resources: {Topic: {Type: 'AWS::SNS::Topic'}}",
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})


def test_the_stack_has_every_output(deployment: Deployment):
    assert set(deployment.outputs) == OUTPUTS
    assert all(deployment.outputs.values())


def test_every_service_has_tasks_in_both_zones(local_session: aws.Session, deployment: Deployment):
    ecs, cluster = local_session.client("ecs"), deployment.outputs["ClusterName"]
    tasks = ecs.describe_tasks(cluster=cluster, tasks=ecs.list_tasks(cluster=cluster)["taskArns"])["tasks"]
    placed = {(task["group"], task["availabilityZone"]) for task in tasks}
    assert placed == {
        (f"service:{service}", zone) for service in ("api", "matcher", "relay") for zone in ("us-east-1a", "us-east-1b")
    }


def test_an_order_is_accepted_once(deployment: Deployment):
    first, answer = order(deployment, orderId="deploy-1", idempotencyKey="deploy-1")
    again, repeated = order(deployment, orderId="deploy-1", idempotencyKey="deploy-1")
    assert (first, again) == (201, 200)
    assert answer == repeated


def test_tasks_have_the_tags_by_which_experiments_select_them(local_session: aws.Session, deployment: Deployment):
    ecs, cluster = local_session.client("ecs"), deployment.outputs["ClusterName"]
    arns = ecs.list_tasks(cluster=cluster)["taskArns"]
    tasks = ecs.describe_tasks(cluster=cluster, tasks=arns, include=["TAGS"])["tasks"]
    for task in tasks:
        tags = {tag["key"]: tag["value"] for tag in task["tags"]}
        assert (tags["App"], tags["RunId"], tags["GameDay"]) == ("PaperBroker", deployment.run_id, "allowed")


def test_resources_have_the_tags_of_the_stack(local_session: aws.Session, deployment: Deployment):
    subnet = local_session.client("ec2").describe_subnets(SubnetIds=[deployment.outputs["AppSubnetA"]])["Subnets"][0]
    tags = {tag["Key"]: tag["Value"] for tag in subnet["Tags"]}
    wanted = {"App": "PaperBroker", "Env": "gameday", "GameDay": "allowed", "RunId": deployment.run_id}
    assert {key: tags.get(key) for key in wanted} == wanted


def test_the_leak_check_finds_the_stack(local_session: aws.Session, deployment: Deployment):
    assert deployment.stack_name in deploy.find_stacks(local_session)
    assert deploy.find_stacks(local_session, run_id=deployment.run_id) == [deployment.stack_name]
    assert deploy.find_stacks(local_session, run_id="another") == []


def test_a_run_id_can_be_used_once(local_session: aws.Session, deployment: Deployment, image: build.Image):
    with pytest.raises(DeployFailed, match=f"{deployment.stack_name} exists already"):
        deploy.deploy(
            local_session,
            image_uri=image.uri,
            run_id=deployment.run_id,
            template=TEMPLATE,
            parameters={},
            timeout_s=5,
        )
    assert deploy.find_stacks(local_session, run_id=deployment.run_id)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (BAD_EXPERIMENT, r"stack gameday-bad is .*: Bad: .*no-such-action"),
        ("Resources: {Good: {Type: 'AWS::SNS::Topic'}}", "stack gameday-bad has no output ApiServiceName"),
    ],
)
def test_the_error_names_the_first_failure_and_the_stack_is_deleted(
    local_session: aws.Session, tmp_path: Path, resources: str, message: str
):
    template = tmp_path / "bad.yaml"
    template.write_text(f"{TWO_PARAMETERS}\n{resources}")
    with pytest.raises(DeployFailed, match=message):
        deploy.deploy(local_session, image_uri="x", run_id="bad", template=template, parameters={}, timeout_s=20)
    assert deploy.find_stacks(local_session, run_id="bad") == []


@pytest.mark.slow
def test_the_error_contains_the_last_log_lines_of_a_failing_image(local_session: aws.Session, tmp_path: Path):
    source = tmp_path / "paperbroker"
    (source / "deploy").mkdir(parents=True)
    (source / "deploy" / "stack.yaml").write_bytes(TEMPLATE.read_bytes())
    (source / "__init__.py").touch()
    (source / "main.py").write_text("raise RuntimeError('no ledger today')\n")
    image = build.build_image(local_session, source=source, change=None, changes_dir=source / "changes")
    with pytest.raises(DeployFailed, match="no ledger today"):
        deploy.deploy(
            local_session,
            image_uri=image.uri,
            run_id="broken",
            template=TEMPLATE,
            parameters=scenarios.get("az-loss").stack_parameters(fault_duration_s=20),
            timeout_s=60,
        )
    assert deploy.find_stacks(local_session, run_id="broken") == []


def test_production_is_refused(local_session: aws.Session):
    with pytest.raises(UnsafeTarget, match="EnvName='prod-eu'"):
        deploy.deploy(
            local_session,
            image_uri="x",
            run_id="p",
            template=TEMPLATE,
            parameters={"EnvName": "prod-eu"},
            timeout_s=1,
        )


def test_a_template_that_is_too_large_for_s3_is_refused(local_session: aws.Session, tmp_path: Path):
    template = tmp_path / "big.yaml"
    template.write_text("#" * 1_000_001)
    with pytest.raises(UsageError, match=r"big.yaml has 1000001 bytes > 1000000"):
        deploy.deploy(local_session, image_uri="x", run_id="b", template=template, parameters={}, timeout_s=1)


def test_tearing_down_a_stack_works_also_if_it_is_gone_already(local_session: aws.Session):
    make_stack(local_session, "gameday-down", {"GameDay": "allowed", "RunId": "down"})
    deploy.tear_down(local_session, "gameday-down", timeout_s=20)
    deploy.tear_down(local_session, "gameday-down", timeout_s=20)
    assert deploy.find_stacks(local_session, run_id="down") == []


def test_a_stack_without_the_tag_is_not_torn_down(local_session: aws.Session):
    make_stack(local_session, "other-team", {"Team": "payments"})
    with pytest.raises(UnsafeTarget, match="other-team has no tag GameDay=allowed"):
        deploy.tear_down(local_session, "other-team", timeout_s=20)
    found = local_session.client("cloudformation").describe_stacks(StackName="other-team")["Stacks"]
    assert found[0]["StackStatus"] == "CREATE_COMPLETE"
