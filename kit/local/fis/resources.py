"""Resources that a target can resolve to, each as its service's Describe call shows it.

Owns where the local AWS keeps them, one function a resource type. Knows no filters and no actions. Works in
the caller's account and region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import ec2, iam

if TYPE_CHECKING:
    from kit.local.cloud import Cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource. `order` is the same in every run of one seed, unlike made-up ids."""

    type: str
    arn: str
    tags: Mapping[str, str]
    described: Mapping[str, Any]
    order: tuple[str, ...] = ()


def _ecs_tasks(cloud: Cloud, parameters: Mapping[str, str]) -> list[Resource]:
    tasks = [task.describe() for task in cloud.ecs.tasks()]
    return [
        Resource(
            type="aws:ecs:task",
            arn=task["taskArn"],
            tags={tag["key"]: tag.get("value", "") for tag in task.get("tags") or ()},
            described=task,
            order=(task.get("availabilityZone", ""), task.get("group", ""), str(task.get("createdAt", ""))),
        )
        for task in tasks
        if task.get("desiredStatus") == "RUNNING"
        and _is_here(task["taskArn"])
        and _is_named(parameters.get("cluster"), task.get("clusterArn", ""))
        and _is_of_service(parameters.get("service"), task.get("group", ""))
    ]


def _subnets(cloud: Cloud, parameters: Mapping[str, str]) -> list[Resource]:
    zone, vpc = parameters.get("availabilityZoneIdentifier"), parameters.get("vpc")
    return [
        Resource(
            type="aws:ec2:subnet",
            arn=f"arn:aws:ec2:{get_region()}:{get_account_id()}:subnet/{subnet['SubnetId']}",
            tags=_tags(ec2._tags.get(subnet["SubnetId"])),
            described={**subnet, "Tags": ec2._tags.get(subnet["SubnetId"]) or []},
            order=(subnet["AvailabilityZone"], subnet["CidrBlock"]),
        )
        for subnet in ec2._subnets.values()
        if (zone is None or zone in (subnet["AvailabilityZone"], subnet.get("AvailabilityZoneId")))
        and (vpc is None or vpc.rpartition("/")[2] == subnet["VpcId"])
    ]


def _roles(cloud: Cloud, parameters: Mapping[str, str]) -> list[Resource]:
    return [
        Resource(
            type="aws:iam:role",
            arn=role["Arn"],
            tags=_tags(role.get("Tags")),
            described=role,
            order=(role["RoleName"],),
        )
        for role in iam._roles.values()
    ]


PROVIDERS: Mapping[str, Callable[[Cloud, Mapping[str, str]], list[Resource]]] = {
    "aws:ecs:task": _ecs_tasks,
    "aws:ec2:subnet": _subnets,
    "aws:iam:role": _roles,
}


def _tags(items: Any) -> dict[str, str]:
    return {item["Key"]: item.get("Value", "") for item in items or ()}


def _is_here(arn: str) -> bool:
    _, _, _, region, account, _ = arn.split(":", 5)
    return (region, account) == (get_region(), get_account_id())


def _is_named(wanted: str | None, arn: str) -> bool:
    """A parameter may be a name or an ARN."""
    return wanted is None or wanted == arn or wanted == arn.rpartition("/")[2]


def _is_of_service(wanted: str | None, group: str) -> bool:
    return wanted is None or group == f"service:{wanted.rpartition('/')[2]}"
