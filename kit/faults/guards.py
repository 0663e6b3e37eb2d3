"""Refuse experiments that could hit anything but the run's own resources. Every refusal raises UnsafeTarget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from kit.aws.client_errors import ClientSource
from kit.errors import UnsafeTarget
from kit.model import Deployment

ALLOWED_TAG = ("GameDay", "allowed")
RUN_TAG = "RunId"
ENV_TAG = "Env"
PROTECTED_ENV = "prod"
DESCRIBE_MAX = 100

Target = dict[str, Any]


def check_template(template: Mapping[str, Any], deployment: Deployment) -> None:
    """Refuse a template of another run, and one without a stop condition."""
    template_id = template["id"]
    _check_tags(f"experiment template {template_id}", template.get("tags", {}), deployment.run_id)
    conditions = template.get("stopConditions") or []
    if not any(condition["source"] != "none" for condition in conditions):
        raise UnsafeTarget(f"experiment template {template_id} has no stop condition")


def check_stack(session: ClientSource, deployment: Deployment) -> None:
    """Refuse a stack whose tags do not allow a game day."""
    stack = session.client("cloudformation").describe_stacks(StackName=deployment.stack_name)["Stacks"][0]
    tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
    _check_tags(f"stack {deployment.stack_name}", tags, deployment.run_id)


def check_targets(targets: Iterable[Target], run_id: str) -> None:
    """Refuse targets without the run's own tags, and targets whose tags are unknown."""
    for target in targets:
        _check_tags(f"target {target['arn'] or target['name']}", target["tags"], run_id)


def describe_targets(session: ClientSource, resolved: Sequence[Mapping[str, Any]]) -> list[Target]:
    """Describe resolved targets by their own services, as {name, type, arn, id, zone, service, tags}.

    A resource that is a target under several names is described once.
    """
    targets = [_target(entry) for entry in resolved]
    known = {target["arn"]: dict(target) for target in targets if target["arn"]}
    for kind, group in groupby(sorted(known.values(), key=_type_of), key=_type_of):
        same = list(group)
        for first in range(0, len(same), DESCRIBE_MAX):
            DESCRIBERS.get(kind, _describe_others)(session, same[first : first + DESCRIBE_MAX])
    return [{**known.get(target["arn"], target), "name": target["name"]} for target in targets]


def _type_of(target: Target) -> str:
    return target["type"]


def _check_tags(what: str, tags: Mapping[str, str], run_id: str) -> None:
    key, value = ALLOWED_TAG
    if tags.get(key) != value:
        raise UnsafeTarget(f"{what} has no tag {key}={value}")
    if tags.get(ENV_TAG, "").lower().startswith(PROTECTED_ENV):
        raise UnsafeTarget(f"{what} has tag {ENV_TAG}={tags[ENV_TAG]}")
    if tags.get(RUN_TAG) != run_id:
        raise UnsafeTarget(f"{what} belongs to run {tags.get(RUN_TAG)!r}, not to {run_id!r}")


def _target(entry: Mapping[str, Any]) -> Target:
    """Read a target; its ARN is the first one in the information, whose key depends on the resource type."""
    arn = next((value for value in entry["targetInformation"].values() if value.startswith("arn:")), "")
    return {
        "name": entry["targetName"],
        "type": entry["resourceType"],
        "arn": arn,
        "id": arn.rsplit("/", 1)[-1],
        "zone": "",
        "service": "",
        "tags": {},
    }


def _describe_tasks(session: ClientSource, targets: Sequence[Target]) -> None:
    for cluster, group in groupby(targets, key=lambda target: target["arn"].split("/")[1]):
        by_arn = {target["arn"]: target for target in group}
        answer = session.client("ecs").describe_tasks(cluster=cluster, tasks=list(by_arn), include=["TAGS"])
        for task in answer["tasks"]:
            target = by_arn[task["taskArn"]]
            target["zone"] = task.get("availabilityZone", "")
            target["service"] = task.get("group", "").removeprefix("service:")
            target["tags"] = {tag["key"]: tag["value"] for tag in task.get("tags", [])}


def _describe_subnets(session: ClientSource, targets: Sequence[Target]) -> None:
    by_id = {target["id"]: target for target in targets}
    for subnet in session.client("ec2").describe_subnets(SubnetIds=list(by_id))["Subnets"]:
        target = by_id[subnet["SubnetId"]]
        target["zone"] = subnet["AvailabilityZone"]
        target["tags"] = {tag["Key"]: tag["Value"] for tag in subnet.get("Tags", [])}


def _describe_others(session: ClientSource, targets: Sequence[Target]) -> None:
    by_arn = {target["arn"]: target for target in targets if target["arn"]}
    if not by_arn:
        return
    found = session.client("resourcegroupstaggingapi").get_resources(ResourceARNList=list(by_arn))
    for entry in found["ResourceTagMappingList"]:
        tags = {tag["Key"]: tag["Value"] for tag in entry["Tags"]}
        by_arn[entry["ResourceARN"]]["tags"] = tags


DESCRIBERS = {"aws:ecs:task": _describe_tasks, "aws:ec2:subnet": _describe_subnets}
