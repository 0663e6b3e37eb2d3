"""List the resources to which a target can resolve, each as its service's Describe call shows it.

One function per resource type; each works in the caller's account and Region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import alb, dynamodb, ec2, iam, lambda_svc

from kit.local.ecs import Ecs


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource. Unlike random ids, `order` is the same in every run of one seed."""

    type: str
    arn: str
    tags: Mapping[str, str]
    described: Mapping[str, Any]
    order: tuple[str, ...] = ()


def _ecs_tasks(ecs: Ecs, parameters: Mapping[str, str]) -> list[Resource]:
    tasks = [task.describe() for task in ecs.tasks()]
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


def _subnets(ecs: Ecs, parameters: Mapping[str, str]) -> list[Resource]:
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


def _roles(ecs: Ecs, parameters: Mapping[str, str]) -> list[Resource]:
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


def _vpc_endpoints(ecs: Ecs, parameters: Mapping[str, str]) -> list[Resource]:
    return [
        Resource(
            type="aws:ec2:vpc-endpoint",
            arn=f"arn:aws:ec2:{get_region()}:{get_account_id()}:vpc-endpoint/{endpoint['VpcEndpointId']}",
            tags=_tags(ec2._tags.get(endpoint["VpcEndpointId"])),
            described=endpoint,
            order=(endpoint["ServiceName"], *sorted(_cidrs(endpoint.get("SubnetIds") or ()))),
        )
        for endpoint in ec2._vpc_endpoints.values()
    ]


def _zonal_shift_resources(ecs: Ecs, parameters: Mapping[str, str]) -> list[Resource]:
    """Return the load balancers that opted in to zonal shifts."""
    return [
        Resource(
            type="aws:arc:zonal-shift-managed-resource",
            arn=arn,
            tags=_tags(alb._tags.get(arn)),
            described=balancer,
            order=(balancer["LoadBalancerName"],),
        )
        for arn, balancer in alb._lbs.items()
        if _attribute(alb._lb_attrs.get(arn), ZONAL_SHIFT_ATTRIBUTE) == "true"
    ]


def _functions(ecs: Ecs, parameters: Mapping[str, str]) -> list[Resource]:
    """Return the functions; a qualifier becomes the last part of the ARN, as in the ARN that an invocation names."""
    qualifier = parameters.get("functionQualifier")
    found = []
    for name, function in lambda_svc._functions.items():
        arn = lambda_svc._func_arn(name)
        _, configuration = lambda_svc._effective_func_record_for_qualifier(function, qualifier)
        if configuration is None:
            continue
        found.append(
            Resource(
                type="aws:lambda:function",
                arn=f"{arn}:{qualifier}" if qualifier else arn,
                tags=dict(function.get("tags") or {}),
                described=configuration,
                order=(name,),
            )
        )
    return found


def _global_tables(ecs: Ecs, parameters: Mapping[str, str]) -> list[Resource]:
    """Return the tables of this Region that have a replica in another one."""
    return [
        Resource(
            type="aws:dynamodb:global-table",
            arn=table["TableArn"],
            tags=_tags(dynamodb._tags.get(table["TableArn"])),
            described=dynamodb._table_description(name),
            order=(name,),
        )
        for name, table in dynamodb._tables.items()
        if dynamodb._replica_group(table)
    ]


ZONAL_SHIFT_ATTRIBUTE = "zonal_shift.config.enabled"

PROVIDERS: Mapping[str, Callable[[Ecs, Mapping[str, str]], list[Resource]]] = {
    "aws:arc:zonal-shift-managed-resource": _zonal_shift_resources,
    "aws:dynamodb:global-table": _global_tables,
    "aws:ec2:subnet": _subnets,
    "aws:ec2:vpc-endpoint": _vpc_endpoints,
    "aws:ecs:task": _ecs_tasks,
    "aws:iam:role": _roles,
    "aws:lambda:function": _functions,
}


def _tags(items: Any) -> dict[str, str]:
    return {item["Key"]: item.get("Value", "") for item in items or ()}


def _attribute(items: Any, key: str) -> str:
    return next((item["Value"] for item in items or () if item["Key"] == key), "")


def _cidrs(subnet_ids: Any) -> list[str]:
    return [(ec2._subnets.get(subnet_id) or {}).get("CidrBlock", "") for subnet_id in subnet_ids]


def _is_here(arn: str) -> bool:
    _, _, _, region, account, _ = arn.split(":", 5)
    return (region, account) == (get_region(), get_account_id())


def _is_named(wanted: str | None, arn: str) -> bool:
    """Tell whether a parameter, a name or an ARN, means this ARN."""
    return wanted is None or wanted == arn or wanted == arn.rpartition("/")[2]


def _is_of_service(wanted: str | None, group: str) -> bool:
    return wanted is None or group == f"service:{wanted.rpartition('/')[2]}"
