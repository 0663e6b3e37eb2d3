"""The stack is a valid template, small enough, and safe to break."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "paperbroker" / "deploy"
TEMPLATE = DEPLOY / "stack.yaml"
TAGS = {"App", "Tier", "Component", "Env", "GameDay", "RunId"}
# CloudFormation takes no tags for these.
UNTAGGABLE = {
    "AWS::CloudWatch::Dashboard",
    "AWS::EC2::Route",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::ElasticLoadBalancingV2::Listener",
}
KEYS = {
    "OrdersTable": [("pk", "S")],
    "OutboxTable": [("market", "S"), ("eventId", "S")],
    "LedgerTable": [("market", "S"), ("seq", "N")],
    "MarketsTable": [("market", "S")],
    "PositionsTable": [("clientId", "S"), ("market", "S")],
    "AppliedTable": [("market", "S"), ("eventId", "S")],
}


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as {"!Ref": …}."""


Loader.add_multi_constructor(
    "!",
    lambda loader, suffix, node: {
        f"!{suffix}": loader.construct_scalar(node)
        if isinstance(node, yaml.ScalarNode)
        else loader.construct_sequence(node, deep=True)
    },
)


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return yaml.load(TEMPLATE.read_text(), Loader)


def of_type(template: dict[str, Any], kind: str) -> dict[str, Any]:
    found = {name: item["Properties"] for name, item in template["Resources"].items() if item["Type"] == kind}
    assert found, f"no {kind} in the template"
    return found


def test_cfn_lint_has_nothing_to_say():
    command = Path(sys.executable).with_name("cfn-lint")
    linted = subprocess.run([command, str(TEMPLATE)], capture_output=True, text=True, timeout=60, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_it_fits_into_the_body_of_a_call():
    assert len(TEMPLATE.read_bytes()) < 51_200


def test_everything_that_takes_tags_carries_the_runs_tags(template: dict[str, Any]):
    for name, resource in template["Resources"].items():
        if resource["Type"] in UNTAGGABLE:
            continue
        tags = resource["Properties"].get("Tags", [])
        keys = set(tags) if isinstance(tags, dict) else {tag["Key"] for tag in tags}
        assert keys >= TAGS, f"{name} lacks {TAGS - keys}"


def test_services_hand_their_tags_to_their_tasks(template: dict[str, Any]):
    assert all(item["PropagateTags"] == "SERVICE" for item in of_type(template, "AWS::ECS::Service").values())


def test_every_experiment_has_alarms_that_stop_it(template: dict[str, Any]):
    alarms = {f"{name}.Arn" for name in of_type(template, "AWS::CloudWatch::Alarm")}
    for name, experiment in of_type(template, "AWS::FIS::ExperimentTemplate").items():
        conditions = experiment["StopConditions"]
        assert conditions, name
        assert all(condition["Source"] == "aws:cloudwatch:alarm" for condition in conditions)
        assert {condition["Value"]["!GetAtt"] for condition in conditions} <= alarms


def test_every_experiment_reaches_only_its_own_run(template: dict[str, Any]):
    for experiment in of_type(template, "AWS::FIS::ExperimentTemplate").values():
        for target in experiment["Targets"].values():
            assert target["ResourceTags"]["RunId"] == {"!Ref": "RunId"}
            assert target["ResourceTags"]["App"] == "PaperBroker"


def test_the_tables_have_the_keys_that_kit_and_broker_agreed_on(template: dict[str, Any]):
    for name, table in of_type(template, "AWS::DynamoDB::Table").items():
        types = {item["AttributeName"]: item["AttributeType"] for item in table["AttributeDefinitions"]}
        keys = [(item["AttributeName"], types[item["AttributeName"]]) for item in table["KeySchema"]]
        assert keys == KEYS[name]
        assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_the_queue_is_fifo_and_drops_no_message_early(template: dict[str, Any]):
    queue = template["Resources"]["Queue"]["Properties"]
    assert queue["FifoQueue"] is True
    assert queue["ContentBasedDeduplication"] is True
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 100


@pytest.mark.parametrize("env", ["prod", "production", "prod-eu"])
def test_it_refuses_a_production_environment(template: dict[str, Any], env: str):
    pattern = template["Parameters"]["EnvName"]["AllowedPattern"]
    assert re.fullmatch(pattern, "gameday")
    assert not re.fullmatch(pattern, env)


def test_no_role_may_do_everything(template: dict[str, Any]):
    for role in of_type(template, "AWS::IAM::Role").values():
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = statement["Action"]
                assert "*" not in "".join([actions] if isinstance(actions, str) else actions)


def test_the_image_pins_what_the_lock_pins():
    lock = (DEPLOY.parents[1] / "requirements.lock").read_text()
    pins = [line for line in (DEPLOY / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert pins
    for pin in pins:
        assert re.search(rf"^{re.escape(pin)}[ \\;]", lock, re.MULTILINE), f"{pin} is not in requirements.lock"
