"""Answer the elbv2 operations on target groups."""

from __future__ import annotations

import re
from typing import Any

from ministack.services import alb, ec2

from kit.local.alb.control import attributes, records, tags
from kit.local.alb.control.names import check_name
from kit.local.alb.control.query import Request
from kit.local.alb.control.records import Record
from kit.local.alb.wire import RequestRefused

PROTOCOL = "HTTP"
MATCHED_CODES = range(200, 500)
CHECK_DEFAULTS: dict[str, Any] = {
    "HealthCheckProtocol": PROTOCOL,
    "HealthCheckPort": "traffic-port",
    "HealthCheckEnabled": True,
    "HealthCheckPath": "/",
    "HealthCheckIntervalSeconds": 30,
    "HealthCheckTimeoutSeconds": 5,
    "HealthyThresholdCount": 5,
    "UnhealthyThresholdCount": 2,
    "Matcher": {"HttpCode": "200"},
}
_SETTINGS = ("Protocol", "ProtocolVersion", "Port", "VpcId", "TargetType", "IpAddressType", *CHECK_DEFAULTS)


def create_target_group(request: Request) -> dict[str, Any]:
    """Answer CreateTargetGroup. The same target group again is the same target group."""
    name = request["Name"]
    check_name(name, "target group")
    record = {
        "TargetGroupName": name,
        **_destination(request),
        **_checked_health_check({key: request.get(key, default) for key, default in CHECK_DEFAULTS.items()}),
    }
    found_tags = tags.checked(request.get("Tags"))
    existing = next((each for each in alb._tgs.values() if each["TargetGroupName"] == name), None)
    if existing is not None:
        if any(existing[key] != record[key] for key in _SETTINGS):
            raise RequestRefused(
                "DuplicateTargetGroupName",
                f"A target group with the same name '{name}' exists, but with different settings",
            )
        return {"TargetGroups": [describe(existing)]}
    arn = records.arn("targetgroup", name)
    alb._tg_attrs[arn] = attributes.defaults(attributes.GROUP)
    alb._tags[arn] = found_tags
    alb._tgs[arn] = {"TargetGroupArn": arn, **record}
    return {"TargetGroups": [describe(alb._tgs[arn])]}


def _destination(request: Request) -> Record:
    """Return where the group's targets are."""
    kind = request.get("TargetType") or "instance"
    if kind not in ("instance", "ip"):
        raise RequestRefused.not_served(f"TargetType '{kind}'", f"make a group of targets of type {kind}")
    for member, what in (("Protocol", "A protocol"), ("Port", "A port"), ("VpcId", "A VPC ID")):
        if request.get(member) in (None, ""):
            raise RequestRefused("ValidationError", f"{what} must be specified")
    if request["Protocol"] != PROTOCOL:
        raise RequestRefused.not_served(
            f"Protocol '{request['Protocol']}'", "send requests to targets by this protocol"
        )
    if request["VpcId"] not in ec2._vpcs:
        raise RequestRefused("ValidationError", f"The VPC ID '{request['VpcId']}' is not found")
    version = request.get("ProtocolVersion") or "HTTP1"
    if version not in ("HTTP1", "HTTP2", "GRPC"):
        raise RequestRefused("ValidationError", f"Protocol version '{version}' must be one of 'HTTP1, HTTP2, GRPC'")
    if version != "HTTP1":
        raise RequestRefused.not_served(f"ProtocolVersion '{version}'", "send requests to targets by this version")
    return {
        "Protocol": PROTOCOL,
        "ProtocolVersion": version,
        "Port": request["Port"],
        "VpcId": request["VpcId"],
        "TargetType": kind,
        "IpAddressType": request.get("IpAddressType") or "ipv4",
    }


def _checked_health_check(check: Record) -> Record:
    """Return the health check. Raises RequestRefused if its parts contradict each other or AWS's rules."""
    problem = ""
    interval_s, timeout_s = check["HealthCheckIntervalSeconds"], check["HealthCheckTimeoutSeconds"]
    port = check["HealthCheckPort"]
    if check["HealthCheckProtocol"] == "HTTPS":
        raise RequestRefused.not_served("HealthCheckProtocol 'HTTPS'", "check the health of targets over TLS")
    if check["HealthCheckProtocol"] != PROTOCOL:
        problem = f"Health check protocol '{check['HealthCheckProtocol']}' must be one of 'HTTP, HTTPS'"
    elif not check["HealthCheckEnabled"]:
        problem = "Health check enabled must be true for target groups with target type 'instance' or 'ip'"
    elif timeout_s >= interval_s:
        problem = f"Health check timeout '{timeout_s}' must be smaller than the interval '{interval_s}'"
    elif port != "traffic-port" and not (port.isdecimal() and 1 <= int(port) <= 65535):
        problem = f"Health check port '{port}' must be either 'traffic-port' or a value between '1' and '65535'"
    elif not check["HealthCheckPath"].startswith("/"):
        problem = f"Health check path '{check['HealthCheckPath']}' must begin with a '/' character"
    else:
        problem = _matcher_problem((check["Matcher"] or {}).get("HttpCode", ""))
    if problem:
        raise RequestRefused("ValidationError", problem)
    return check


def _matcher_problem(codes: str) -> str:
    for part in codes.split(","):
        found = re.fullmatch(r"(\d{3})(?:-(\d{3}))?", part)
        if found is None:
            return f"Health check matcher HTTP code '{codes}' must be a code, a list of codes or a range of codes"
        if not all(int(code) in MATCHED_CODES for code in found.groups() if code):
            return f"Health check matcher HTTP code '{part}' must be within '200-499' inclusive"
    return ""


def describe_target_groups(request: Request) -> dict[str, Any]:
    """Answer DescribeTargetGroups."""
    arns, names, balancer = request.get("TargetGroupArns"), request.get("Names"), request.get("LoadBalancerArn")
    if sum(map(bool, (arns, names, balancer))) > 1:
        raise RequestRefused(
            "ValidationError",
            "Target group names, target group ARNs, and a load balancer ARN cannot be specified at the same time",
        )
    found = list(alb._tgs.values())
    if arns:
        found = [records.group(arn) for arn in arns]
    elif names:
        by_name = {each["TargetGroupName"]: each for each in found}
        if missing := [name for name in names if name not in by_name]:
            raise RequestRefused("TargetGroupNotFound", f"Target groups '[{', '.join(missing)}]' not found")
        found = [by_name[name] for name in names]
    elif balancer:
        records.balancer(balancer)
        found = [each for each in found if balancer in records.balancers_of(each["TargetGroupArn"])]
    return records.page("TargetGroups", [describe(each) for each in found], request)


def modify_target_group(request: Request) -> dict[str, Any]:
    """Answer ModifyTargetGroup."""
    record = records.group(request["TargetGroupArn"])
    check = {key: request.get(key, record[key]) for key in CHECK_DEFAULTS}
    record.update(_checked_health_check(check))
    alb._tgs[record["TargetGroupArn"]] = record  # tells the data plane
    return {"TargetGroups": [describe(record)]}


def delete_target_group(request: Request) -> dict[str, Any]:
    """Answer DeleteTargetGroup."""
    arn = request["TargetGroupArn"]
    records.group(arn)
    if records.balancers_of(arn):
        raise RequestRefused("ResourceInUse", f"Target group '{arn}' is currently in use by a listener or a rule")
    for store in (alb._tgs, alb._tg_attrs, alb._tags):
        store.pop(arn, None)
    return {}


def describe_target_group_attributes(request: Request) -> dict[str, Any]:
    """Answer DescribeTargetGroupAttributes."""
    records.group(request["TargetGroupArn"])
    return {"Attributes": alb._tg_attrs[request["TargetGroupArn"]]}


def modify_target_group_attributes(request: Request) -> dict[str, Any]:
    """Answer ModifyTargetGroupAttributes."""
    arn = request["TargetGroupArn"]
    records.group(arn)
    alb._tg_attrs[arn] = attributes.changed(
        attributes.GROUP, alb._tg_attrs[arn], request["Attributes"], what="Target group"
    )
    return {"Attributes": alb._tg_attrs[arn]}


def describe(record: Record) -> dict[str, Any]:
    """Return a target group as DescribeTargetGroups does."""
    return {**record, "LoadBalancerArns": records.balancers_of(record["TargetGroupArn"])}
