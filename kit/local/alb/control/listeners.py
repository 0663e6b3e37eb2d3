"""Answer the elbv2 operations on listeners."""

from __future__ import annotations

from typing import Any

from ministack.services import alb

from kit.local.alb.control import actions, attributes, records, tags
from kit.local.alb.control.query import Request
from kit.local.alb.control.records import DEFAULT, Record
from kit.local.alb.wire import RequestRefused

LISTENERS_MAX = 50


def create_listener(request: Request) -> dict[str, Any]:
    """Answer CreateListener. The same listener again is the same listener."""
    balancer = records.balancer(request["LoadBalancerArn"])
    port, protocol = request.get("Port"), request.get("Protocol")
    if not port:
        raise RequestRefused("ValidationError", "A listener port must be specified")
    if not protocol:
        raise RequestRefused("ValidationError", "A listener protocol must be specified")
    _check_protocol(protocol, port)
    default = actions.completed(request["DefaultActions"], balancer["LoadBalancerArn"])
    found_tags = tags.checked(request.get("Tags"))
    present = records.listeners_of(balancer["LoadBalancerArn"])
    for each in present:
        if each["Port"] == port and each["DefaultActions"] == default:
            return {"Listeners": [each]}
    _check_port(present, port)
    if len(present) >= LISTENERS_MAX:
        raise RequestRefused("TooManyListeners", f"A load balancer can have up to {LISTENERS_MAX} listeners")
    name = records.name_parts(balancer["LoadBalancerArn"])
    arn = records.arn("listener", *name)
    rule_arn = records.arn("listener-rule", *name, arn.rpartition("/")[2])
    alb._listener_attrs[arn] = attributes.defaults(attributes.LISTENER)
    alb._tags[arn], alb._tags[rule_arn] = found_tags, []
    alb._rules[rule_arn] = {
        "RuleArn": rule_arn, "ListenerArn": arn, "Priority": DEFAULT, "Conditions": [], "Actions": default,
        "IsDefault": True,
    }  # fmt: skip
    alb._listeners[arn] = {
        "ListenerArn": arn, "LoadBalancerArn": balancer["LoadBalancerArn"], "Port": port, "Protocol": protocol,
        "DefaultActions": default,
    }  # fmt: skip
    return {"Listeners": [alb._listeners[arn]]}


def describe_listeners(request: Request) -> dict[str, Any]:
    """Answer DescribeListeners."""
    arns, balancer = request.get("ListenerArns"), request.get("LoadBalancerArn")
    if bool(arns) == bool(balancer):
        raise RequestRefused("ValidationError", "You must specify either listener ARNs or a load balancer ARN")
    if balancer:
        records.balancer(balancer)
        found = records.listeners_of(balancer)
    else:
        found = [records.listener(arn) for arn in arns or ()]
    return records.page("Listeners", found, request)


def modify_listener(request: Request) -> dict[str, Any]:
    """Answer ModifyListener."""
    record = records.listener(request["ListenerArn"])
    port, protocol = request.get("Port") or record["Port"], request.get("Protocol") or record["Protocol"]
    _check_protocol(protocol, port)
    balancer = record["LoadBalancerArn"]
    _check_port([each for each in records.listeners_of(balancer) if each is not record], port)
    changed: Record = {"Port": port, "Protocol": protocol}
    if "DefaultActions" in request:
        changed["DefaultActions"] = actions.completed(request["DefaultActions"], balancer)
    record.update(changed)
    rule = records.rules_of(record["ListenerArn"])[-1]
    rule["Actions"] = record["DefaultActions"]
    alb._rules[rule["RuleArn"]] = rule
    alb._listeners[record["ListenerArn"]] = record  # tells the data plane
    return {"Listeners": [record]}


def delete_listener(request: Request) -> dict[str, Any]:
    """Answer DeleteListener."""
    arn = request["ListenerArn"]
    records.listener(arn)
    for rule in records.rules_of(arn):
        alb._rules.pop(rule["RuleArn"], None)
        alb._tags.pop(rule["RuleArn"], None)
    for store in (alb._listeners, alb._listener_attrs, alb._tags):
        store.pop(arn, None)
    return {}


def describe_listener_attributes(request: Request) -> dict[str, Any]:
    """Answer DescribeListenerAttributes."""
    records.listener(request["ListenerArn"])
    return {"Attributes": alb._listener_attrs[request["ListenerArn"]]}


def modify_listener_attributes(request: Request) -> dict[str, Any]:
    """Answer ModifyListenerAttributes."""
    arn = request["ListenerArn"]
    records.listener(arn)
    alb._listener_attrs[arn] = attributes.changed(
        attributes.LISTENER, alb._listener_attrs[arn], request["Attributes"], what="Listener"
    )
    return {"Attributes": alb._listener_attrs[arn]}


def _check_protocol(protocol: str, port: int) -> None:
    if protocol != "HTTP":
        raise RequestRefused(
            "UnsupportedProtocol",
            f"listener protocol '{protocol}' on port {port}: the local load balancer serves HTTP only",
        )


def _check_port(others: list[Record], port: int) -> None:
    if any(each["Port"] == port for each in others):
        raise RequestRefused("DuplicateListener", "A listener already exists on this port for this load balancer")
