"""Answer the elbv2 operations on listener rules."""

from __future__ import annotations

from typing import Any

from ministack.services import alb

from kit.local.alb.control import actions, conditions, records, tags
from kit.local.alb.control.query import Request
from kit.local.alb.control.records import Record
from kit.local.alb.wire import RequestRefused

RULES_MAX = 100  # per load balancer, without the default rules


def create_rule(request: Request) -> dict[str, Any]:
    """Answer CreateRule."""
    listener = records.listener(request["ListenerArn"])
    priority = str(request["Priority"])
    found_conditions = conditions.completed(request["Conditions"])
    found_actions = actions.completed(request["Actions"], listener["LoadBalancerArn"])
    found_tags = tags.checked(request.get("Tags"))
    if any(each["Priority"] == priority for each in records.rules_of(listener["ListenerArn"])):
        raise _in_use(priority)
    siblings = records.listeners_of(listener["LoadBalancerArn"])
    if sum(len(records.rules_of(each["ListenerArn"])) - 1 for each in siblings) >= RULES_MAX:
        raise RequestRefused("TooManyRules", f"A load balancer can have up to {RULES_MAX} rules")
    arn = records.arn("listener-rule", *records.name_parts(listener["ListenerArn"]))
    alb._tags[arn] = found_tags
    alb._rules[arn] = {
        "RuleArn": arn, "ListenerArn": listener["ListenerArn"], "Priority": priority, "Conditions": found_conditions,
        "Actions": found_actions, "IsDefault": False,
    }  # fmt: skip
    return {"Rules": [alb._rules[arn]]}


def describe_rules(request: Request) -> dict[str, Any]:
    """Answer DescribeRules."""
    arns, listener = request.get("RuleArns"), request.get("ListenerArn")
    if not arns and not listener:
        raise RequestRefused("ValidationError", "You must specify either listener rule ARNs or a listener ARN")
    if arns and listener:
        raise RequestRefused(
            "ValidationError", "Listener rule ARNs and a listener ARN cannot be specified at the same time"
        )
    if listener:
        found = records.rules_of(records.listener(listener)["ListenerArn"])
    else:
        found = [records.rule(arn) for arn in arns or ()]
    return records.page("Rules", found, request)


def modify_rule(request: Request) -> dict[str, Any]:
    """Answer ModifyRule."""
    given_conditions, given_actions = request.get("Conditions"), request.get("Actions")
    if given_conditions is None and given_actions is None:
        raise RequestRefused("ValidationError", "You must provide either conditions, actions, or transforms")
    rule = records.rule(request["RuleArn"])
    if rule["IsDefault"]:
        raise RequestRefused("OperationNotPermitted", f"Default rule '{rule['RuleArn']}' cannot be modified")
    listener = records.listener(rule["ListenerArn"])
    changed: Record = {}
    if given_conditions is not None:
        changed["Conditions"] = conditions.completed(given_conditions)
    if given_actions is not None:
        changed["Actions"] = actions.completed(given_actions, listener["LoadBalancerArn"])
    rule.update(changed)
    alb._rules[rule["RuleArn"]] = rule  # tells the data plane
    return {"Rules": [rule]}


def delete_rule(request: Request) -> dict[str, Any]:
    """Answer DeleteRule."""
    rule = records.rule(request["RuleArn"])
    if rule["IsDefault"]:
        raise RequestRefused("OperationNotPermitted", f"Default rule '{rule['RuleArn']}' cannot be deleted")
    alb._rules.pop(rule["RuleArn"], None)
    alb._tags.pop(rule["RuleArn"], None)
    return {}


def set_rule_priorities(request: Request) -> dict[str, Any]:
    """Answer SetRulePriorities: all priorities change, or none."""
    wanted = {entry["RuleArn"]: str(entry["Priority"]) for entry in request["RulePriorities"]}
    found = [records.rule(arn) for arn in wanted]
    if default := [rule for rule in found if rule["IsDefault"]]:
        raise RequestRefused(
            "OperationNotPermitted", f"The priority of default rule '{default[0]['RuleArn']}' cannot be changed"
        )
    for listener in {rule["ListenerArn"] for rule in found}:
        after = [str(wanted.get(rule["RuleArn"], rule["Priority"])) for rule in records.rules_of(listener)]
        if twice := [priority for priority in after if after.count(priority) > 1]:
            raise _in_use(twice[0])
    for rule in found:
        rule["Priority"] = wanted[rule["RuleArn"]]
        alb._rules[rule["RuleArn"]] = rule
    return {"Rules": found}


def _in_use(priority: str) -> RequestRefused:
    return RequestRefused("PriorityInUse", f"Priority '{priority}' is currently in use")
