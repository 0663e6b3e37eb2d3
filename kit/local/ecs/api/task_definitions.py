"""Answer the ECS operations on task definitions."""

from __future__ import annotations

import time
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import ecs

from kit.local.ecs import wire
from kit.local.ecs.api import scope, task_definition_rules
from kit.local.ecs.wire import Reply, Request, RequestRefused, invalid

DELETE_MAX = 10
_ECHOED = (
    "executionRoleArn", "taskRoleArn", "pidMode", "ephemeralStorage", "runtimePlatform", "enableFaultInjection",
    "requiresCompatibilities",
)  # fmt: skip
_CONTAINER_DEFAULTS: dict[str, Any] = {
    "cpu": 0, "essential": True, "portMappings": [], "environment": [], "mountPoints": [], "volumesFrom": [],
    "systemControls": [],
}  # fmt: skip


def register_task_definition(request: Request) -> Reply:
    """Answer RegisterTaskDefinition."""
    required = request.get("requiresCompatibilities") or []
    is_fargate = "FARGATE" in required
    network_mode = request.get("networkMode") or ("awsvpc" if is_fargate else "bridge")
    task_definition_rules.check(request, is_fargate=is_fargate, network_mode=network_mode)
    compatibilities = ["EC2"]
    if task_definition_rules.runs_on_fargate(request, network_mode):
        compatibilities.append("FARGATE")
    tags = wire.checked_tags(request.get("tags"))
    revision = ecs._next_task_def_revision(request["family"])
    definition: dict[str, Any] = {
        "taskDefinitionArn": scope.arn(f"task-definition/{request['family']}:{revision}"),
        "family": request["family"],
        "revision": revision,
        "status": "ACTIVE",
        "networkMode": network_mode,
        "containerDefinitions": [_completed(each, network_mode) for each in request["containerDefinitions"]],
        "volumes": request.get("volumes") or [],
        "placementConstraints": [],
        "compatibilities": compatibilities,
        "requiresAttributes": [],
        "registeredAt": time.time(),
        "registeredBy": f"arn:aws:iam::{get_account_id()}:root",
        **{name: request[name] for name in _ECHOED if request.get(name) is not None},
        **task_definition_rules.amounts(request),
    }
    ecs._task_defs[f"{request['family']}:{revision}"] = definition
    if tags:
        ecs._tags[definition["taskDefinitionArn"]] = tags
    return {"taskDefinition": definition, "tags": tags}


def _completed(container: dict[str, Any], network_mode: str) -> dict[str, Any]:
    """Return a container definition with the defaults that AWS describes."""
    completed = {**_CONTAINER_DEFAULTS, **container}
    completed["portMappings"] = [
        {"protocol": "tcp", **({"hostPort": p["containerPort"]} if network_mode == "awsvpc" else {}), **p}
        for p in completed["portMappings"]
    ]
    return completed


def deregister_task_definition(request: Request) -> Reply:
    """Answer DeregisterTaskDefinition. Tasks and services that use it go on."""
    reference = request.get("taskDefinition") or ""
    if ":" not in reference:
        raise invalid("TaskDefinition should be in the format family:revision or an ARN.")
    definition = _find(reference)
    if definition["status"] == "INACTIVE":
        raise invalid("The specified task definition is inactive. Specify an active task definition and try again.")
    definition.update(status="INACTIVE", deregisteredAt=time.time())
    return {"taskDefinition": definition}


def describe_task_definition(request: Request) -> Reply:
    """Answer DescribeTaskDefinition. A family alone means its latest active revision."""
    definition = _find(request.get("taskDefinition") or "")
    tags = ecs._tags.get(definition["taskDefinitionArn"]) or []
    reply = {"taskDefinition": definition}
    return {**reply, "tags": tags} if "TAGS" in (request.get("include") or []) else reply


def list_task_definitions(request: Request) -> Reply:
    """Answer ListTaskDefinitions, in order of family and revision."""
    family, status = request.get("familyPrefix"), request.get("status") or "ACTIVE"
    found = [
        each for each in ecs._task_defs.values()
        if each["status"] == status and family in (None, "", each["family"])
    ]  # fmt: skip
    found.sort(key=lambda each: (each["family"], each["revision"]), reverse=request.get("sort") == "DESC")
    return wire.page("taskDefinitionArns", [each["taskDefinitionArn"] for each in found], request, default=100)


def list_task_definition_families(request: Request) -> Reply:
    """Answer ListTaskDefinitionFamilies."""
    prefix, status = request.get("familyPrefix") or "", request.get("status") or "ALL"
    statuses: dict[str, set[str]] = {}
    for each in ecs._task_defs.values():
        if each["status"] in ("ACTIVE", "INACTIVE"):
            statuses.setdefault(each["family"], set()).add(each["status"])
    # A family is inactive when it has no active revision.
    found = [
        family for family, kinds in sorted(statuses.items())
        if family.startswith(prefix) and status in ("ALL", "ACTIVE" if "ACTIVE" in kinds else "INACTIVE")
    ]  # fmt: skip
    return wire.page("families", found, request, default=100)


def delete_task_definitions(request: Request) -> Reply:
    """Answer DeleteTaskDefinitions. Only inactive ones can be deleted; those in use cannot be run any more."""
    deleted, failures = [], []
    for reference in scope.counted(request, "taskDefinitions", what="Task definitions", most=DELETE_MAX):
        key = ecs._resolve_td_delete_key(reference)
        definition = ecs._task_defs.get(key) if key else None
        if definition is None:
            failures.append({"arn": reference, "reason": "The specified task definition does not exist."})
        elif definition["status"] == "ACTIVE":
            failures.append({
                "arn": definition["taskDefinitionArn"],
                "reason": "The specified task definition is still in ACTIVE status. Please deregister the target and "
                "try again.",
            })  # fmt: skip
        else:
            definition.update(status="DELETE_IN_PROGRESS", deleteRequestedAt=time.time())
            deleted.append(definition)
    return {"taskDefinitions": deleted, "failures": failures}


def _find(reference: str) -> dict[str, Any]:
    definition = wire.find_definition(reference)
    if definition is None:
        raise RequestRefused("ClientException", "Unable to describe task definition.")
    return definition
