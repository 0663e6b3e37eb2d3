"""Rules about ways out: tasks must reach AWS's services, and the load balancer its clients and its tasks.

The local AWS has neither addresses nor routes, so that a way that is missing shows only in an account, where no task
starts without its image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.stack_rules.roles import LOAD_BALANCER, NETWORK, SECURITY_GROUP, SERVICE, target
from kit.stack_rules.rule import Rule, shown
from kit.stack_rules.template import EACH, MISSING, Template

ROUTE, ASSOCIATION = "AWS::EC2::Route", "AWS::EC2::SubnetRouteTableAssociation"
INTERNET_GATEWAY, ATTACHMENT = "AWS::EC2::InternetGateway", "AWS::EC2::VPCGatewayAttachment"
NAT_GATEWAY = "AWS::EC2::NatGateway"
ANYWHERE = "0.0.0.0/0"
HTTPS_PORT, ALL_PROTOCOLS = 443, "-1"


def _type(template: Template, value: Any) -> str:
    return str(template.resources.get(target(value), {}).get("Type", ""))


def _ways_out(template: Template, subnet: str) -> set[str]:
    """Return the types of the gateways to which a subnet's traffic to any address is routed."""
    tables = {
        target(one.get("RouteTableId"))
        for one in template.of_type(ASSOCIATION).values()
        if target(one.get("SubnetId")) == subnet
    }
    attached = {target(one.get("InternetGatewayId")) for one in template.of_type(ATTACHMENT).values()}
    found = set()
    for route in template.of_type(ROUTE).values():
        if target(route.get("RouteTableId")) in tables and route.get("DestinationCidrBlock") == ANYWHERE:
            if target(route.get("GatewayId")) in attached:
                found.add(_type(template, route.get("GatewayId")))
            found.add(_type(template, route.get("NatGatewayId")))
    return found


def _subnets(template: Template, values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for listed in template.at(values, path):
        for subnet in listed if isinstance(listed, list) else [MISSING]:
            yield target(subnet)


def _cut_off(template: Template) -> Iterator[tuple[str, str]]:
    """Find services and load balancers in a subnet from which they reach nothing outside."""
    for name, values in template.of_type(SERVICE).items():
        addresses = set(template.at(values, (*NETWORK, "AssignPublicIp")))
        for subnet in _subnets(template, values, (*NETWORK, "Subnets")):
            ways = _ways_out(template, subnet)
            if NAT_GATEWAY not in ways and INTERNET_GATEWAY not in ways:
                yield f"{name}.Subnets", f"has {subnet or 'no subnet'}, which has no route to a gateway"
            elif NAT_GATEWAY not in ways and addresses != {"ENABLED"}:
                yield (
                    f"{name}.AssignPublicIp",
                    f"is {', '.join(map(shown, addresses))}, but {subnet} has no NAT gateway, expected 'ENABLED'",
                )
    for name, values in template.of_type(LOAD_BALANCER).items():
        for subnet in _subnets(template, values, ("Subnets",)):
            if values.get("Scheme", "internet-facing") == "internet-facing" and (
                INTERNET_GATEWAY not in _ways_out(template, subnet)
            ):
                yield f"{name}.Subnets", f"has {subnet or 'no subnet'}, which has no route to an internet gateway"


def _closed_groups(template: Template) -> Iterator[tuple[str, str]]:
    """Find security groups that keep their members from AWS's services, or a load balancer from its tasks."""
    places = [(SERVICE, (*NETWORK, "SecurityGroups", EACH)), (LOAD_BALANCER, ("SecurityGroups", EACH))]
    used = {
        (target(group), kind)
        for kind, path in places
        for values in template.of_type(kind).values()
        for group in template.at(values, path)
    }
    for group, kind in sorted(used):
        if template.resources.get(group, {}).get("Type") != SECURITY_GROUP:
            continue  # `task-ingress` tells.
        egress = template.properties(group).get("SecurityGroupEgress", MISSING)
        if egress is not MISSING and not any(_lets_out(entry, kind) for entry in egress):
            yield f"{group}.SecurityGroupEgress", f"is {shown(egress)}, expected none or one to {ANYWHERE}"


def _lets_out(entry: Mapping[str, Any], kind: str) -> bool:
    if entry.get("CidrIp") != ANYWHERE:
        return False
    if str(entry.get("IpProtocol")) == ALL_PROTOCOLS:
        return True
    is_https = int(entry.get("FromPort", 0)) <= HTTPS_PORT <= int(entry.get("ToPort", 0))
    return kind == SERVICE and str(entry.get("IpProtocol")) == "tcp" and is_https


RULES: tuple[Rule, ...] = (
    Rule(name="way-out", why="a task that reaches neither its image nor its tables never starts", find=_cut_off),
    Rule(name="egress", why="what leaves is dropped, and calls wait until they time out", find=_closed_groups),
)
