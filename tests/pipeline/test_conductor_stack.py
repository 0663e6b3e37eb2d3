"""The conductor's stack is valid, permits no more than it needs, and its parts fit together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.gameday.load_source import STACK as LOAD_STACK
from kit.pipeline import function_package
from kit.pipeline.conductor_stack import TEMPLATE
from tests.load.test_load_stack import Loader

UNTAGGED = {"AWS::Events::Rule", "AWS::Lambda::Permission", "AWS::SNS::Subscription", "AWS::SNS::TopicPolicy",
            "AWS::Chatbot::SlackChannelConfiguration"}  # fmt: skip
READING = re.compile(r"[a-z0-9]+:(Describe|Get|List)\w+")


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return yaml.load(TEMPLATE.read_text(), Loader)


@pytest.fixture(scope="module")
def resources(template: dict[str, Any]) -> dict[str, Any]:
    return template["Resources"]


def statements(resources: dict[str, Any], role: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, statement)
        for name, resource in resources.items()
        if resource["Type"] == "AWS::IAM::Role" and role in (None, name)
        for policy in resource["Properties"].get("Policies", ())
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def actions(statement: dict[str, Any]) -> list[str]:
    given = statement["Action"]
    return [given] if isinstance(given, str) else given


@pytest.mark.slow
def test_cfn_lint_finds_nothing():
    command = Path(sys.executable).with_name("cfn-lint")
    linted = subprocess.run([command, str(TEMPLATE)], capture_output=True, text=True, timeout=60, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_no_action_is_a_pattern(resources: dict[str, Any]):
    assert [action for _, one in statements(resources) for action in actions(one) if "*" in action] == []


def test_what_changes_something_names_its_resources(resources: dict[str, Any]):
    """Deliveries of logs and OpsItems cannot be named before they exist."""
    wide = {
        action
        for _, one in statements(resources)
        if one["Resource"] == "*"
        for action in actions(one)
        if not READING.fullmatch(action)
    }
    assert {action for action in wide if not action.startswith("logs:")} == {
        "ssm:CreateOpsItem", "ssm:UpdateOpsItem", "ssm:AddTagsToResource"
    }  # fmt: skip


def test_faults_start_and_stop_only_where_game_days_are_allowed(resources: dict[str, Any]):
    for role, one in statements(resources):
        if {"fis:StartExperiment", "fis:StopExperiment"} & set(actions(one)):
            # An experiment that is being started has no tags yet but those of the request.
            kind = "Request" if one["Sid"] == "TagExperiments" else "Resource"
            assert one["Condition"] == {"StringEquals": {f"aws:{kind}Tag/GameDay": "allowed"}}, (role, one["Sid"])


def test_the_state_machine_passes_roles_to_tasks_alone(resources: dict[str, Any]):
    (passing,) = [one for _, one in statements(resources, "MachineRole") if "iam:PassRole" in actions(one)]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    assert len(passing["Resource"]) == 4


def test_nobody_but_the_state_machine_runs_tasks(resources: dict[str, Any]):
    assert {role for role, one in statements(resources) if "ecs:RunTask" in actions(one)} == {"MachineRole"}


def test_every_taggable_resource_has_the_tags(resources: dict[str, Any]):
    for name, resource in resources.items():
        if resource["Type"] not in UNTAGGED:
            assert {tag["Key"] for tag in resource["Properties"]["Tags"]} >= {"Tier", "Component"}, name


def test_every_function_is_in_the_package(resources: dict[str, Any]):
    functions = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::Lambda::Function"]
    handlers = {one["Handler"] for one in functions}
    names = ("HANDLER", "CLEAN_UP", "DIAGNOSE", "TELL")
    assert handlers == {getattr(function_package, name) for name in names}
    packed = {path.relative_to(function_package.ROOT).as_posix() for path in function_package.sources()}
    assert {f"{handler.rpartition('.')[0].replace('.', '/')}.py" for handler in handlers} <= packed


def test_an_execution_that_did_not_end_by_itself_is_cleaned_up(resources: dict[str, Any]):
    rule = resources["Ended"]["Properties"]
    assert rule["EventPattern"]["detail"]["status"] == ["ABORTED", "TIMED_OUT", "FAILED"]
    assert rule["EventPattern"]["detail-type"] == ["Step Functions Execution Status Change"]
    assert [target["Arn"] for target in rule["Targets"]] == [{"!GetAtt": "CleanUpFunction.Arn"}]
    assert resources["EndedPermission"]["Properties"]["SourceArn"] == {"!GetAtt": "Ended.Arn"}


def test_the_load_stack_has_the_outputs_that_the_conductor_takes(template: dict[str, Any]):
    load = yaml.load(LOAD_STACK.read_text(), Loader)
    taken = {"LoadRoleArn", "ExecutionRoleArn", "ArtifactsBucket", "LoadClusterName", "LoadTaskDefinition"}
    assert taken <= set(load["Outputs"])
    assert {"LoadRoleArn", "ExecutionRoleArn", "ArtifactsBucket", "LoadTaskDefinition"} <= set(template["Parameters"])
