"""One set of rules: the linter, the API and CloudFormation accept the same templates and refuse the same templates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fis_rules.three_ways import answers

ALARM = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:orders are late"
ROLE = "arn:aws:iam::123456789012:role/fis-role"
INSTANCE = "arn:aws:ec2:us-east-1:123456789012:instance/i-1"
WAIT = {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}
GOLDEN: dict[str, Any] = {
    "description": "Stop an instance, then wait",
    "roleArn": ROLE,
    "stopConditions": [{"source": "aws:cloudwatch:alarm", "value": ALARM}],
    "targets": {
        "i": {"resourceType": "aws:ec2:instance", "resourceTags": {"App": "shop"}, "selectionMode": "COUNT(1)"},
    },
    "actions": {"stop": {"actionId": "aws:ec2:stop-instances", "targets": {"Instances": "i"}}, "wait": WAIT},
    "tags": {"Name": "golden"},
}
POD = {
    "resourceType": "aws:eks:pod",
    "selectionMode": "COUNT(1)",
    "parameters": {
        "clusterIdentifier": "c", "namespace": "n", "selectorType": "labelSelector", "selectorValue": "app=x",
    },
}  # fmt: skip
LOG_GROUP = "arn:aws:logs:us-east-1:123456789012:log-group:fis:*"

Template = dict[str, Any]
Change = Callable[[Template], object]


def with_action(action_id: str, target: Template | None = None, slot: str = "", **parameters: str) -> Change:
    """Return a change that adds this action, on this target."""

    def change(template: Template) -> None:
        template["actions"]["a"] = {"actionId": action_id, "parameters": parameters}
        if target is not None:
            template["targets"]["t"] = target
            template["actions"]["a"]["targets"] = {slot: "t"}

    return change


def of(**members: Any) -> Change:
    """Return a change of the template's own members."""
    return lambda template: template.update(members)


def target(**members: Any) -> Change:
    return lambda template: template["targets"]["i"].update(members)


def wait(**members: Any) -> Change:
    return lambda template: template["actions"]["wait"].update(members)


def tagged(resource_type: str) -> Template:
    return {"resourceType": resource_type, "resourceTags": {"App": "x"}, "selectionMode": "COUNT(1)"}


def log(version: Any, **destination: Any) -> Change:
    return of(logConfiguration={"logSchemaVersion": version, **destination})


SSM_DOCUMENT = "arn:aws:ssm:us-east-1:123456789012:document/d"
TASKS = tagged("aws:ecs:task")
GOOD: dict[str, Change] = {
    "golden": of(),
    "no stop condition": of(stopConditions=[{"source": "none"}]),
    "JSON with spaces": with_action(
        "aws:ssm:start-automation-execution", documentArn=SSM_DOCUMENT, maxDuration="PT1M",
        documentParameters='{"DurationSeconds": "120", "CPU": "0"}',
    ),
    "JSON on several lines": with_action(
        "aws:ssm:start-automation-execution", documentArn=SSM_DOCUMENT, maxDuration="PT1M",
        documentParameters='{\n  "Value": "on"\n}\n',
    ),
    "list with a space": with_action(
        "aws:ec2:asg-insufficient-instance-capacity-error", tagged("aws:ec2:autoscaling-group"), "AutoScalingGroups",
        duration="PT5M", availabilityZoneIdentifiers="use1-az1, use1-az2",
    ),
    "capital True": with_action(
        "aws:ecs:task-cpu-stress", TASKS, "Tasks", duration="PT1M", percent="80", installDependencies="True"
    ),
    "pod": with_action("aws:eks:pod-delete", POD, "Pods", kubernetesServiceAccount="fis"),
    "five ARNs": target(resourceTags={}, resourceArns=[f"{INSTANCE}{n}" for n in range(5)]),
    "filters": target(filters=[{"path": "State.Name", "values": ["running"]}]),
    "logs": log(2, cloudWatchLogsConfiguration={"logGroupArn": LOG_GROUP}),
    "options": of(experimentOptions={"emptyTargetResolutionMode": "skip", "accountTargeting": "single-account"}),
    "decimal": with_action(
        "aws:ebs:volume-io-latency", tagged("aws:ec2:ebs-volume"), "Volumes", duration="PT1M", readIOPercentage="99.5"
    ),
    "twelve hours": wait(parameters={"duration": "PT12H"}),
    "seconds": wait(parameters={"duration": "PT0.2S"}),
    "no targets": of(targets={}, actions={"wait": WAIT}),
}  # fmt: skip
BAD: dict[str, Change] = {
    "role is no role": of(roleArn="<fis trust policy role>"),
    "short role": of(roleArn="fis"),
    "long description": of(description="x" * 513),
    "empty description": of(description=""),
    "no description": lambda template: template.pop("description"),
    "unknown member": of(stopCondition=[]),
    "unknown member of an action": wait(parameter={}),
    "options": of(experimentOptions={"accountTargeting": "multi"}),
    "mode for empty targets": of(experimentOptions={"emptyTargetResolutionMode": "ignore"}),
    "reserved tag": of(tags={"aws:owner": "x"}),
    "tags as a list": of(tags=[{"Key": "App", "Value": "x"}]),
    "51 tags": of(tags={f"k{n}": "v" for n in range(51)}),
    "empty stop conditions": of(stopConditions=[]),
    "none beside an alarm": lambda template: template["stopConditions"].append({"source": "none"}),
    "none with a value": of(stopConditions=[{"source": "none", "value": ALARM}]),
    "alarm is a topic": of(stopConditions=[{"source": "aws:cloudwatch:alarm", "value": INSTANCE}]),
    "alarm without account": of(
        stopConditions=[{"source": "aws:cloudwatch:alarm", "value": "arn:aws:cloudwatch:us-east-1:x:alarm:a"}]
    ),
    "six stop conditions": lambda template: template.update(stopConditions=template["stopConditions"] * 6),
    "no action": of(actions={}),
    "21 actions": lambda template: template["actions"].update(
        {f"w{n}": {**WAIT, "startAfter": ["wait"]} for n in range(19)}
    ),
    "11 parallel actions": lambda template: template["actions"].update({f"w{n}": WAIT for n in range(10)}),
    "thirteen hours": wait(parameters={"duration": "PT13H"}),
    "thirteen hours in all": lambda template: template["actions"].update(
        a={"actionId": "aws:fis:wait", "parameters": {"duration": "PT7H"}},
        b={"actionId": "aws:fis:wait", "parameters": {"duration": "PT6H"}, "startAfter": ["a"]},
    ),
    "no duration": wait(parameters={}),
    "parameter in another case": wait(parameters={"Duration": "PT1M"}),
    "duration of an automation": with_action(
        "aws:ssm:start-automation-execution", documentArn=SSM_DOCUMENT, duration="PT1M"
    ),
    "more values than are read": of(tags={"a": "b"}, description=["x"] * 6_000),
    "more actions than are compared": lambda template: template["actions"].update(
        {f"w{n}": {**WAIT, "startAfter": [f"w{n - 1}"]} for n in range(1, 1_000)}
    ),
    "very many problems": lambda template: template["actions"].update({f"a{n}": {"actionId": "x"} for n in range(999)}),
    "long unknown member": of(**{"x" * 100_000: 1}),
    "zero duration": wait(parameters={"duration": "PT0S"}),
    "words as duration": wait(parameters={"duration": "one minute"}),
    "spot notice of an hour": with_action(
        "aws:ec2:send-spot-instance-interruptions", tagged("aws:ec2:spot-instance"), "SpotInstances",
        durationBeforeInterruption="PT1H",
    ),
    "unknown action": wait(actionId="aws:fis:wait-for-it"),
    "stale action": wait(actionId="aws:elasticache:interrupt-cluster-az-power"),
    "unknown parameter": wait(parameters={"duration": "PT1M", "speed": "1"}),
    "alarm state": with_action("aws:cloudwatch:assert-alarm-state", alarmArns=ALARM, alarmStates="OKAY"),
    "superscript count": with_action("aws:ecs:task-cpu-stress", TASKS, "Tasks", duration="PT1M", workers="\u00b2"),
    "huge count": with_action("aws:ecs:task-cpu-stress", TASKS, "Tasks", duration="PT1M", workers="9" * 20),
    "decimal in scientific notation": with_action(
        "aws:ebs:volume-io-latency", tagged("aws:ec2:ebs-volume"), "Volumes", duration="PT1M", readIOPercentage="1e1"
    ),
    "long parameter": with_action(
        "aws:ssm:start-automation-execution", documentArn=SSM_DOCUMENT, maxDuration="PT1M",
        documentParameters="x" * 1025,
    ),
    "prefix list without scope": with_action(
        "aws:network:disrupt-connectivity", tagged("aws:ec2:subnet"), "Subnets", duration="PT1M", scope="prefix-list"
    ),
    "start after nothing": wait(startAfter=["nothing"]),
    "start after a text": wait(startAfter="stop"),
    "start after itself": wait(startAfter=["wait"]),
    "target is missing": lambda template: template["actions"]["stop"].pop("targets"),
    "target is undefined": lambda template: template["actions"]["stop"].update(targets={"Instances": "j"}),
    "target in an unknown slot": wait(targets={"Instances": "i"}),
    "target of another type": target(resourceType="aws:ec2:spot-instance"),
    "unknown type": target(resourceType="aws:ec2:instances"),
    "unused target of an unknown type": lambda template: template["targets"].update(u=tagged("aws:x:y")),
    "pods by tags": with_action(
        "aws:eks:pod-delete", {**POD, "resourceTags": {"app": "x"}}, "Pods", kubernetesServiceAccount="fis"
    ),
    "selector type": with_action(
        "aws:eks:pod-delete", {**POD, "parameters": {**POD["parameters"], "selectorType": "label"}}, "Pods",
        kubernetesServiceAccount="fis",
    ),
    "pod without its cluster": with_action(
        "aws:eks:pod-delete", {**POD, "parameters": {"namespace": "n"}}, "Pods", kubernetesServiceAccount="fis"
    ),
    "unknown target parameter": target(parameters={"zone": "a"}),
    "selection mode": target(selectionMode="PERCENT(0)"),
    "no selection mode": lambda template: template["targets"]["i"].pop("selectionMode"),
    "selected by nothing": lambda template: template["targets"]["i"].pop("resourceTags"),
    "ARNs and tags": target(resourceArns=[INSTANCE]),
    "ARNs and filters": target(
        resourceTags={}, resourceArns=[INSTANCE], filters=[{"path": "State.Name", "values": ["running"]}]
    ),
    "ARN twice": target(resourceTags={}, resourceArns=[INSTANCE, INSTANCE]),
    "six ARNs": target(resourceTags={}, resourceArns=[f"{INSTANCE}{n}" for n in range(6)]),
    "no ARN": target(resourceTags={}, resourceArns=["an instance of the shop"]),
    "filter path": target(filters=[{"path": "state.name", "values": ["running"]}]),
    "filter without values": target(filters=[{"path": "State.Name", "values": []}]),
    "targets are a list": of(targets=[]),
    "action is a text": lambda template: template["actions"].update(wait="PT1M"),
    "log version": log(3, cloudWatchLogsConfiguration={"logGroupArn": LOG_GROUP}),
    "log nowhere": log(2),
    "log group without a star": log(2, cloudWatchLogsConfiguration={"logGroupArn": LOG_GROUP.removesuffix(":*")}),
}  # fmt: skip
CASES = [
    *(pytest.param(change, True, id=name) for name, change in GOOD.items()),
    *(pytest.param(change, False, id=name) for name, change in BAD.items()),
]


@pytest.mark.parametrize(("change", "is_good"), CASES)
def test_linter_api_and_cloudformation_agree(tmp_path: Path, change: Change, is_good: bool) -> None:
    """Each accepts the good ones; each refuses the bad ones, without a crash."""
    template = copy.deepcopy(GOLDEN)
    change(template)
    accepted = answers(tmp_path, template)
    assert accepted == dict.fromkeys(accepted, is_good)
