"""Check the requests that create and update services, by the rules of AWS."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ministack.services import alb, ec2

from kit.local.ecs.api.task_definition_rules import NAME
from kit.local.ecs.ecs_services import DeploymentLimits
from kit.local.ecs.wire import Request, invalid, not_served

LAUNCH_TYPES = ("EC2", "FARGATE")
PLATFORMS = ("LATEST", "1.4.0")


def check_name(name: str) -> None:
    """Raise RequestRefused unless AWS accepts the name of a service."""
    if not name:
        raise invalid("serviceName can not be blank.")
    if not NAME.fullmatch(name):
        raise invalid(f"Service name '{name}' must be up to 255 letters, numbers, hyphens and underscores.")


def check_counts(request: Request, limits: DeploymentLimits, *, has_targets: bool) -> None:
    """Raise RequestRefused for counts, percentages or times that AWS refuses."""
    if int(request.get("desiredCount") or 0) < 0:
        raise invalid(f"desiredCount must not be negative, but is {request['desiredCount']}.")
    if limits.minimum_percent < 0 or limits.maximum_percent < max(1, limits.minimum_percent):
        raise invalid(
            f"maximumPercent {limits.maximum_percent} must be greater than 0 and no less than minimumHealthyPercent "
            f"{limits.minimum_percent}."
        )
    if limits.alarms is not None and limits.alarms.enabled and not limits.alarms.names:
        raise invalid("alarmNames cannot be empty when deployment alarms are enabled.")
    grace_s = request.get("healthCheckGracePeriodSeconds")
    if grace_s is not None and not has_targets:
        raise invalid("Health check grace period is only valid for services configured to use load balancers")
    if grace_s is not None and int(grace_s) < 0:
        raise invalid(f"healthCheckGracePeriodSeconds must not be negative, but is {grace_s}.")


def launch_type(request: Request, definition: Mapping[str, Any]) -> str:
    """Return the launch type, EC2 by default as on AWS. Raises RequestRefused."""
    given = request.get("launchType") or "EC2"
    if request.get("launchType") and request.get("capacityProviderStrategy"):
        raise invalid("Specifying both a launch type and capacity provider strategy is not supported. Remove one.")
    if given not in LAUNCH_TYPES:
        raise invalid(f"launch type '{given}' must be one of {', '.join(LAUNCH_TYPES)}.")
    if given == "FARGATE" and "FARGATE" not in definition["compatibilities"]:
        raise invalid("Task definition does not support launch_type FARGATE.")
    version = request.get("platformVersion")
    if version and given != "FARGATE":
        raise invalid("The platform version must be null when specifying an EC2 launch type.")
    if version and version not in PLATFORMS:
        raise not_served(f"platform version '{version}'", "run tasks on it")
    return given


def check_network(configuration: Mapping[str, Any] | None, definition: Mapping[str, Any]) -> None:
    """Raise RequestRefused unless the network configuration suits the task definition and names what exists."""
    if definition["networkMode"] != "awsvpc":
        if configuration:
            raise invalid("Network Configuration is not valid for the given networkMode of this task definition.")
        return
    awsvpc = (configuration or {}).get("awsvpcConfiguration")
    if not awsvpc:
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if not awsvpc.get("subnets"):
        raise invalid("subnets can not be empty.")
    groups = awsvpc.get("securityGroups") or []
    if unknown := [id for id in groups if id not in ec2._security_groups]:
        raise invalid(
            f"Error retrieving security group information for [{', '.join(groups)}]: "
            f"The security group '{unknown[0]}' does not exist"
        )


def check_target_groups(load_balancers: Sequence[Mapping[str, Any]], definition: Mapping[str, Any]) -> None:
    """Raise RequestRefused unless each target group exists, has a load balancer and takes the tasks' addresses."""
    for entry in load_balancers:
        arn = entry.get("targetGroupArn")
        if not arn:
            raise invalid("The target group ARN of a load balancer must be specified.")
        group = alb._tgs.get(arn)
        if group is None:
            raise invalid(f"The target group {arn} does not exist.")
        if definition["networkMode"] == "awsvpc" and group["TargetType"] != "ip":
            raise invalid(
                f"The provided target group {arn} has target type {group['TargetType']}, which is incompatible with "
                "the awsvpc network mode specified in the task definition."
            )
        if not _has_balancer(arn):
            raise invalid(f"The target group with targetGroupArn {arn} does not have an associated load balancer.")


def _has_balancer(group_arn: str) -> bool:
    """Return whether a rule of a listener forwards to the group."""
    return any(
        entry["TargetGroupArn"] == group_arn
        for rule in list(alb._rules.values())
        for action in rule["Actions"]
        for entry in action.get("ForwardConfig", {}).get("TargetGroups", ())
    )


def check_overrides(overrides: Mapping[str, Any] | None, definition: Mapping[str, Any]) -> None:
    """Raise RequestRefused for an override of a container that the task definition does not have."""
    names = {container["name"] for container in definition["containerDefinitions"]}
    for override in (overrides or {}).get("containerOverrides") or ():
        if override.get("name") not in names:
            raise invalid(
                f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
            )


def check_group(group: str) -> None:
    """Raise RequestRefused for a group of tasks that only services may have."""
    if group.startswith("service:"):
        raise invalid("Invalid namespace for group. Not allowed: service")
    if len(group) > 255 or not re.fullmatch(r"[\w:.-]*", group):
        raise invalid(f"The group '{group}' must be up to 255 letters, numbers, colons, hyphens, dots and underscores.")
