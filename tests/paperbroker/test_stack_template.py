"""The stack's template is valid and fits what kit and PaperBroker read of it; its rules are in `test_stack_rules`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[2] / "paperbroker" / "deploy"
TEMPLATE = DEPLOY / "stack.yaml"
TAGS = {"Tier", "Component"}
# CloudFormation copies these to the resources; a manual deployment must set them.
STACK_TAGS = ("App=PaperBroker", "Env=<EnvName>", "GameDay=allowed", "RunId=<RunId>")
# CloudFormation accepts no tags for these, or they are parts of a tagged resource.
UNTAGGED = {
    "AWS::AppConfig::ConfigurationProfile",
    "AWS::AppConfig::Deployment",
    "AWS::AppConfig::DeploymentStrategy",
    "AWS::AppConfig::Environment",
    "AWS::AppConfig::HostedConfigurationVersion",
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


def of_type(template: dict[str, Any], kind: str) -> dict[str, Any]:
    found = {name: item["Properties"] for name, item in template["Resources"].items() if item["Type"] == kind}
    assert found, f"no {kind} in the template"
    return found


def test_cfn_lint_finds_nothing():
    command = Path(sys.executable).with_name("cfn-lint")
    linted = subprocess.run([command, str(TEMPLATE)], capture_output=True, text=True, timeout=60, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_template_is_within_cloudformations_size_limit():
    """1 MB for a template in S3, where the kit puts it. In the body of a call the limit is 51,200 bytes."""
    assert len(TEMPLATE.read_bytes()) < 1_000_000


def test_description_names_the_tags_that_the_stack_must_have(template: dict[str, Any]):
    assert [tag for tag in STACK_TAGS if tag not in template["Description"]] == []


def test_every_taggable_resource_has_the_tags(template: dict[str, Any]):
    for name, resource in template["Resources"].items():
        if resource["Type"] in UNTAGGED:
            continue
        tags = resource["Properties"].get("Tags", [])
        keys = set(tags) if isinstance(tags, dict) else {tag["Key"] for tag in tags}
        assert keys >= TAGS, f"{name} lacks {TAGS - keys}"


def test_parameters_of_an_action_have_no_white_space(template: dict[str, Any]):
    """FIS refuses white space, which JSON parameters often contain."""
    for experiment in of_type(template, "AWS::FIS::ExperimentTemplate").values():
        for action in experiment["Actions"].values():
            plain = [value for value in action.get("Parameters", {}).values() if isinstance(value, str)]
            written = [value["!Sub"] for value in action.get("Parameters", {}).values() if "!Sub" in value]
            assert [text for text in (*plain, *written) if re.search(r"\s", text)] == []


def test_the_automation_that_deploys_waits_for_the_deployment(template: dict[str, Any]):
    """Otherwise the experiment would end while tasks are still being replaced."""
    deploy, *_, settle = template["Resources"]["RollDocument"]["Properties"]["Content"]["mainSteps"]
    assert (deploy["inputs"]["Api"], deploy["inputs"]["forceNewDeployment"]) == ("UpdateService", True)
    assert settle["inputs"]["DesiredValues"] == ["COMPLETED"]
    assert {deploy["inputs"]["service"]["!GetAtt"]} == {name["!GetAtt"] for name in settle["inputs"]["services"]}


def test_tasks_meet_the_requirements_of_faults_inside_tasks(template: dict[str, Any]):
    """AWS requires these settings. The agent's exit must not stop the task."""
    for name, definition in of_type(template, "AWS::ECS::TaskDefinition").items():
        assert (definition["PidMode"], definition["EnableFaultInjection"]) == ("task", True), name
        main, agent = definition["ContainerDefinitions"]
        assert (main["Essential"], agent["Essential"]) == (True, False)
        assert agent["Name"] == "amazon-ssm-agent"


def test_a_matcher_survives_a_short_stall_and_is_replaced_when_it_hangs(template: dict[str, Any]):
    retries = template["Parameters"]["MatcherHealthRetries"]["Default"]
    for name in ("MatcherTaskDefinition", "RelayTaskDefinition"):
        check = template["Resources"][name]["Properties"]["ContainerDefinitions"][0]["HealthCheck"]
        assert check["Retries"] == {"!Ref": "MatcherHealthRetries"}
        assert 30 <= check["Interval"] * retries <= 60
        # The first check of a stall of 20 s may come at its start; the remaining ones must take longer than the stall.
        assert check["Interval"] * (retries - 1) > 20


def test_the_flags_have_the_names_that_paperbroker_reads(template: dict[str, Any]):
    resources = template["Resources"]
    contents = {name: json.loads(resources[name]["Properties"]["Content"]) for name in ("FlagsNormal", "FlagsSlow")}
    assert contents == {"FlagsNormal": {"storeDelayMs": 0}, "FlagsSlow": {"storeDelayMs": 1500}}
    assert resources["FlagsDeployed"]["Properties"]["ConfigurationVersion"] == {"!Ref": "FlagsNormal"}


def test_the_tables_have_the_keys_that_kit_and_paperbroker_use(template: dict[str, Any]):
    for name, table in of_type(template, "AWS::DynamoDB::Table").items():
        types = {item["AttributeName"]: item["AttributeType"] for item in table["AttributeDefinitions"]}
        keys = [(item["AttributeName"], types[item["AttributeName"]]) for item in table["KeySchema"]]
        assert keys == KEYS[name]
        assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_the_image_pins_the_versions_of_the_lock_file():
    lock = (DEPLOY.parents[1] / "requirements.lock").read_text()
    pins = [line for line in (DEPLOY / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert pins
    for pin in pins:
        assert re.search(rf"^{re.escape(pin)}[ \\;]", lock, re.MULTILINE), f"{pin} is not in requirements.lock"
