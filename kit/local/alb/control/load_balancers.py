"""Answer the elbv2 operations on load balancers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ministack.services import alb, ec2

from kit.local.alb import configuration
from kit.local.alb.control import attributes, listeners, records, tags
from kit.local.alb.control.names import check_name
from kit.local.alb.control.query import Request
from kit.local.alb.control.records import Record
from kit.local.alb.wire import RequestRefused

HOSTED_ZONE = "Z35SXDOTRQ7X7K"
ZONES_MIN = 2
PROTECTED = "deletion_protection.enabled"


def create_load_balancer(request: Request) -> dict[str, Any]:
    """Answer CreateLoadBalancer. The same load balancer again is the same load balancer."""
    name, kind = request["Name"], request.get("Type") or "application"
    check_name(name, "load balancer")
    if kind != "application":
        raise RequestRefused.not_served(f"Type '{kind}'", f"make a {kind} load balancer")
    subnet_ids = _subnet_ids(request)
    found_tags = tags.checked(request.get("Tags"))
    settings = {
        "Scheme": request.get("Scheme") or "internet-facing",
        "Type": kind,
        "VpcId": _vpc(subnet_ids),
        "Subnets": subnet_ids,
        "SecurityGroups": _security_groups(request.get("SecurityGroups") or [], _vpc(subnet_ids)),
        "IpAddressType": request.get("IpAddressType") or "ipv4",
    }
    existing = next((each for each in alb._lbs.values() if each["LoadBalancerName"] == name), None)
    if existing is not None:
        if any(existing[key] != value for key, value in settings.items()):
            raise RequestRefused(
                "DuplicateLoadBalancerName",
                f"A load balancer with the same name '{name}' exists, but with different settings",
            )
        return {"LoadBalancers": [describe(existing)]}
    arn = records.arn("loadbalancer", "app", name)
    # The store gives the record its local address.
    alb._lb_attrs[arn] = attributes.defaults(attributes.BALANCER)
    alb._tags[arn] = found_tags
    record = {"LoadBalancerArn": arn, "LoadBalancerName": name, "CreatedTime": alb._now_iso(), "State": "active"}
    alb._lbs[arn] = {**record, **settings}
    return {"LoadBalancers": [describe(alb._lbs[arn])]}


def describe_load_balancers(request: Request) -> dict[str, Any]:
    """Answer DescribeLoadBalancers."""
    arns, names = request.get("LoadBalancerArns") or [], request.get("Names") or []
    if arns and names:
        raise RequestRefused(
            "ValidationError", "Load balancer names and load balancer ARNs cannot be specified at the same time"
        )
    for name in names:
        check_name(name, "load balancer")
    found = list(alb._lbs.values())
    if arns:
        found = [records.balancer(arn) for arn in arns]
    elif names:
        by_name = {each["LoadBalancerName"]: each for each in found}
        if missing := [name for name in names if name not in by_name]:
            raise RequestRefused("LoadBalancerNotFound", f"Load balancers '[{', '.join(missing)}]' not found")
        found = [by_name[name] for name in names]
    return records.page("LoadBalancers", [describe(each) for each in found], request)


def delete_load_balancer(request: Request) -> dict[str, Any]:
    """Answer DeleteLoadBalancer. A load balancer that does not exist is deleted already."""
    arn = request["LoadBalancerArn"]
    if arn not in alb._lbs:
        return {}
    if _attribute(arn, PROTECTED) == "true":
        raise RequestRefused(
            "OperationNotPermitted",
            f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled",
        )
    for listener in records.listeners_of(arn):
        listeners.delete_listener({"ListenerArn": listener["ListenerArn"]})
    for store in (alb._lbs, alb._lb_attrs, alb._tags):
        store.pop(arn, None)
    return {}


def describe_load_balancer_attributes(request: Request) -> dict[str, Any]:
    """Answer DescribeLoadBalancerAttributes."""
    records.balancer(request["LoadBalancerArn"])
    return {"Attributes": alb._lb_attrs[request["LoadBalancerArn"]]}


def modify_load_balancer_attributes(request: Request) -> dict[str, Any]:
    """Answer ModifyLoadBalancerAttributes."""
    arn = request["LoadBalancerArn"]
    records.balancer(arn)
    alb._lb_attrs[arn] = attributes.changed(
        attributes.BALANCER, alb._lb_attrs[arn], request["Attributes"], what="Load balancer"
    )
    return {"Attributes": alb._lb_attrs[arn]}


def set_subnets(request: Request) -> dict[str, Any]:
    """Answer SetSubnets."""
    record = records.balancer(request["LoadBalancerArn"])
    subnet_ids = _subnet_ids(request)
    if _vpc(subnet_ids) != record["VpcId"]:
        raise RequestRefused(
            "InvalidSubnet", f"The subnets {subnet_ids} are not in the load balancer's VPC '{record['VpcId']}'"
        )
    _put(record, Subnets=subnet_ids)
    return {"AvailabilityZones": _zones(record), "IpAddressType": record["IpAddressType"]}


def set_security_groups(request: Request) -> dict[str, Any]:
    """Answer SetSecurityGroups."""
    record = records.balancer(request["LoadBalancerArn"])
    _put(record, SecurityGroups=_security_groups(request["SecurityGroups"], record["VpcId"]))
    return {"SecurityGroupIds": record["SecurityGroups"]}


def set_ip_address_type(request: Request) -> dict[str, Any]:
    """Answer SetIpAddressType."""
    record = records.balancer(request["LoadBalancerArn"])
    _put(record, IpAddressType=request["IpAddressType"])
    return {"IpAddressType": record["IpAddressType"]}


def describe(record: Record) -> dict[str, Any]:
    """Return a load balancer as DescribeLoadBalancers does."""
    return {
        **record,
        "CanonicalHostedZoneId": HOSTED_ZONE,
        "State": {"Code": record["State"]},
        "AvailabilityZones": _zones(record),
    }


def _zones(record: Record) -> list[dict[str, Any]]:
    subnets = zip(record["Subnets"], configuration.subnets(record), strict=True)
    return [
        {"ZoneName": subnet.get("AvailabilityZone"), "SubnetId": id, "LoadBalancerAddresses": []}
        for id, subnet in subnets
    ]


def _put(record: Record, **changes: Any) -> None:
    record.update(changes)
    alb._lbs[record["LoadBalancerArn"]] = record  # tells the data plane


def _subnet_ids(request: Request) -> list[str]:
    """Return the subnets of a request: at least two, in different zones of one VPC."""
    mapped = [mapping.get("SubnetId", "") for mapping in request.get("SubnetMappings") or []]
    ids = request.get("Subnets") or mapped
    if mapped and request.get("Subnets"):
        raise RequestRefused("ValidationError", "You must specify either subnets or subnet mappings, not both")
    if unknown := [id for id in ids if id not in ec2._subnets]:
        raise RequestRefused("SubnetNotFound", f"The subnet ID '{unknown[0]}' does not exist")
    if len(set(ids)) < ZONES_MIN:
        raise RequestRefused(
            "ValidationError", "At least two subnets in two different Availability Zones must be specified"
        )
    zones = [ec2._subnets[id]["AvailabilityZone"] for id in ids]
    if len(set(zones)) < len(zones):
        raise RequestRefused(
            "InvalidConfigurationRequest",
            "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
        )
    if len({ec2._subnets[id]["VpcId"] for id in ids}) > 1:
        raise RequestRefused("InvalidConfigurationRequest", "All subnets must belong to the same VPC")
    return list(ids)


def _vpc(subnet_ids: Sequence[str]) -> str:
    return ec2._subnets[subnet_ids[0]]["VpcId"]


def _security_groups(ids: Sequence[str], vpc: str) -> list[str]:
    """Return the security groups; without any, the default one of the VPC."""
    for id in ids:
        group = ec2._security_groups.get(id)
        if group is None:
            raise RequestRefused("InvalidSecurityGroup", f"The security group '{id}' does not exist")
        if group.get("VpcId") != vpc:
            raise RequestRefused("InvalidConfigurationRequest", f"The security group '{id}' is not in VPC '{vpc}'")
    default = [
        id for id, group in ec2._security_groups.items()
        if group.get("VpcId") == vpc and group.get("GroupName") == "default"
    ]  # fmt: skip
    return list(ids) or default


def _attribute(arn: str, key: str) -> str:
    return next((each["Value"] for each in alb._lb_attrs.get(arn) or [] if each["Key"] == key), "")
