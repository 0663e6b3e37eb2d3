"""Check the actions of listeners and rules, and complete them with AWS's defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kit.local.alb.control import records
from kit.local.alb.listener_rules import REDIRECT_DEFAULTS
from kit.local.alb.wire import RequestRefused

TARGET_GROUPS_MAX = 5
WEIGHT_MAX = 999
CONTENT_TYPES = ("text/plain", "text/css", "text/html", "application/javascript", "application/json")
_CONFIG_OF = {"forward": "ForwardConfig", "redirect": "RedirectConfig", "fixed-response": "FixedResponseConfig"}

Action = dict[str, Any]


def completed(given: Sequence[Mapping[str, Any]], balancer_arn: str) -> list[Action]:
    """Return the actions as AWS describes them. Raises RequestRefused."""
    if not given:
        raise RequestRefused("ValidationError", "An action must be specified")
    for action in given:
        if action.get("Type") not in _CONFIG_OF:
            raise RequestRefused.not_served(f"action type '{action.get('Type')}'", "carry it out before the request")
    if len(given) > 1:
        raise RequestRefused(
            "InvalidLoadBalancerAction", "Only one action of type 'forward', 'redirect' or 'fixed-response' is allowed"
        )
    return [_completed(action, balancer_arn) for action in given]


def _completed(action: Mapping[str, Any], balancer_arn: str) -> Action:
    kind = action["Type"]
    wrong = [config for type, config in _CONFIG_OF.items() if type != kind and config in action]
    if kind != "forward" and "TargetGroupArn" in action:
        wrong.append("TargetGroupArn")
    if wrong:
        raise RequestRefused("InvalidLoadBalancerAction", f"An action of type '{kind}' cannot have {wrong[0]}")
    order = {"Order": action["Order"]} if action.get("Order") else {}
    if kind == "forward":
        return {"Type": kind, **order, **_forward(action, balancer_arn)}
    config = action.get(_CONFIG_OF[kind])
    if not config:
        raise RequestRefused("ValidationError", f"A '{_CONFIG_OF[kind]}' must be specified with '{kind}'")
    return {"Type": kind, **order, _CONFIG_OF[kind]: _redirect(config) if kind == "redirect" else _response(config)}


def _forward(action: Mapping[str, Any], balancer_arn: str) -> Action:
    single, config = action.get("TargetGroupArn"), action.get("ForwardConfig") or {}
    entries = config.get("TargetGroups") or ([{"TargetGroupArn": single}] if single else [])
    groups = [{"TargetGroupArn": e.get("TargetGroupArn", ""), "Weight": e.get("Weight", 1)} for e in entries]
    if not groups:
        raise RequestRefused("ValidationError", "A target group ARN must be specified")
    if single and [each["TargetGroupArn"] for each in groups] != [single]:
        raise RequestRefused(
            "InvalidLoadBalancerAction",
            "TargetGroupArn must be the only target group of ForwardConfig, if both are given",
        )
    if len({each["TargetGroupArn"] for each in groups}) < len(groups):
        raise RequestRefused("ValidationError", "Each target group can be specified once in an action")
    if len(groups) > TARGET_GROUPS_MAX:
        raise RequestRefused("TooManyTargetGroups", f"An action can have up to {TARGET_GROUPS_MAX} target groups")
    for each in groups:
        _check_group(each, balancer_arn)
    sticky = config.get("TargetGroupStickinessConfig") or {}
    if sticky.get("Enabled"):
        raise RequestRefused.not_served("TargetGroupStickinessConfig", "send a client to the same target group again")
    forward = {"TargetGroups": groups, "TargetGroupStickinessConfig": {**sticky, "Enabled": False}}
    return {**({"TargetGroupArn": groups[0]["TargetGroupArn"]} if len(groups) == 1 else {}), "ForwardConfig": forward}


def _check_group(entry: Mapping[str, Any], balancer_arn: str) -> None:
    arn = entry["TargetGroupArn"]
    group = records.group(arn)
    if not 0 <= entry["Weight"] <= WEIGHT_MAX:
        raise RequestRefused(
            "ValidationError",
            f"The weight '{entry['Weight']}' of a target group must be between '0' and '{WEIGHT_MAX}'",
        )
    if group["VpcId"] != records.balancer(balancer_arn)["VpcId"]:
        raise RequestRefused("InvalidConfigurationRequest", f"Target group '{arn}' is not in the load balancer's VPC")
    if set(records.balancers_of(arn)) - {balancer_arn}:
        raise RequestRefused(
            "TargetGroupAssociationLimit",
            f"The following target groups cannot be associated with more than one load balancer: {arn}",
        )


def _redirect(config: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: config.get(key, default) for key, default in REDIRECT_DEFAULTS.items()}
    if given == REDIRECT_DEFAULTS:
        raise RequestRefused(
            "InvalidLoadBalancerAction", "The redirect configuration is not valid because it creates a loop."
        )
    port = given["Port"]
    if port != "#{port}" and not (port.isdecimal() and 1 <= int(port) <= 65535):
        raise RequestRefused(
            "ValidationError", f"The redirect port '{port}' must be between '1' and '65535' or '#{{port}}'"
        )
    if not given["Path"].startswith("/"):
        raise RequestRefused("ValidationError", f"The redirect path '{given['Path']}' must begin with '/'")
    return {**given, "StatusCode": config["StatusCode"]}


def _response(config: Mapping[str, Any]) -> dict[str, Any]:
    content_type = config.get("ContentType")
    if content_type and content_type not in CONTENT_TYPES:
        allowed = ", ".join(f"'{each}'" for each in sorted(CONTENT_TYPES))
        raise RequestRefused("InvalidLoadBalancerAction", f"The ContentType must be one of:{allowed}")
    return dict(config)
