"""Rules about IAM roles: they allow what PaperBroker calls, and nothing beyond the stack.

The local AWS does not check roles, so a missing or a too wide permission shows only in an account.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kit.stack_rules.roles import ROLE, TASK_DEFINITION, target
from kit.stack_rules.rule import Rule, shown
from kit.stack_rules.template import GET_ATT, REF, SUB, Template

# What PaperBroker calls. A transaction needs the permissions of its parts.
NEEDED = frozenset({
    "appconfig:GetLatestConfiguration", "appconfig:StartConfigurationSession", "cloudwatch:PutMetricData",
    "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:GetItem",
    "dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateItem", "sqs:DeleteMessage",
    "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage",
})  # fmt: skip
# Actions that AWS cannot limit to a resource, or that the fault agent and FIS need for resources they create.
UNSCOPED = frozenset({
    "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricData", "ec2:DescribeInstances", "ec2:DescribeSubnets",
    "ecs:DescribeContainerInstances", "ecs:DescribeTasks", "ecs:ListTasks", "ssm:AddTagsToResource",
    "ssm:CancelCommand", "ssm:CreateActivation", "ssm:DeleteActivation", "ssm:DeregisterManagedInstance",
    "ssm:GetAutomationExecution", "ssm:ListCommands", "tag:GetResources",
})  # fmt: skip
# Actions whose resources are limited by a condition, because their names are not known before.
CONDITIONED = {
    "cloudwatch:PutMetricData": "cloudwatch:namespace",
    "ecs:StopTask": "aws:ResourceTag/RunId",
    "iam:PassRole": "iam:PassedToService",
}
# Resources that are not named after the stack: documents of AWS, and what Systems Manager names by itself.
SHARED_RESOURCES = ("document/AWSFIS-*", "managed-instance/*", "automation-execution/*")
MANAGED_POLICIES = frozenset({
    "AmazonECSTaskExecutionRolePolicy", "AWSFaultInjectionSimulatorNetworkAccess", "AmazonSSMManagedInstanceCore",
})  # fmt: skip
SERVICES = frozenset({"ecs-tasks.amazonaws.com", "fis.amazonaws.com", "ssm.amazonaws.com"})
# Services that act for whoever asks them: the role must say for which account.
DEPUTIES = frozenset({"fis.amazonaws.com", "ssm.amazonaws.com"})
STACK_NAME = "${AWS::StackName}"
STACK_MARK = "<stack>"
WIDE = re.compile(r"[*?]")


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _statements(template: Template) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, role in template.of_type(ROLE).items():
        for policy in _items(role.get("Policies")):
            for statement in _items(policy.get("PolicyDocument", {}).get("Statement")):
                yield f"{name}.{statement.get('Sid') or policy.get('PolicyName')}", statement


def _too_wide(template: Template) -> Iterator[tuple[str, str]]:
    """Find statements that allow more actions or resources than those of this stack."""
    for place, statement in _statements(template):
        if statement.get("Effect") != "Allow":
            continue
        for member in {"NotAction", "NotResource"} & set(statement):
            yield place, f"uses {member}"
        actions = _items(statement.get("Action"))
        for action in actions:
            if WIDE.search(str(action)):
                yield place, f"allows {action}"
        for resource in _items(statement.get("Resource")):
            unscoped = [action for action in actions if action not in UNSCOPED]
            if not _is_limited(template, resource) and unscoped:
                yield place, f"allows {unscoped[0]} on {shown(resource)}"
        for action in actions:
            key = CONDITIONED.get(str(action))
            if key and not _limits(statement.get("Condition") or {}, key):
                yield place, f"allows {action} without a condition on {key}"


def _limits(conditions: Mapping[str, Mapping[str, Any]], key: str) -> bool:
    """Return whether a condition asks for exact values of a key. Negations and wildcards would allow too much."""
    asked = _items(conditions.get("StringEquals", {}).get(key))
    return bool(asked) and not any(WIDE.search(value) for value in asked if isinstance(value, str))


def _is_limited(template: Template, resource: Any) -> bool:
    """Return whether a resource of a statement is one of this stack, or one that only AWS can name."""
    if target(resource) in template.resources:
        return True
    if not isinstance(resource, Mapping) or SUB not in resource:
        return False
    text = str(resource[SUB])
    own = [name for name in re.findall(r"\$\{([A-Za-z0-9]+)[.}]", text) if name in template.resources]
    # A name after the last colon that begins with the stack's, such as table/${AWS::StackName}-*.
    last = text.replace(STACK_NAME, STACK_MARK).rpartition(":")[2]
    if last.endswith(SHARED_RESOURCES):
        return True
    return bool(own) or last.rpartition("/")[2].startswith(f"{STACK_MARK}-")


def _too_trusting(template: Template) -> Iterator[tuple[str, str]]:
    """Find roles that anybody but the expected AWS services may assume."""
    for name, role in template.of_type(ROLE).items():
        for statement in _items(role.get("AssumeRolePolicyDocument", {}).get("Statement")):
            principal = statement.get("Principal")
            services = _items(principal.get("Service")) if isinstance(principal, Mapping) else []
            if not services or set(principal) != {"Service"} or set(map(str, services)) - SERVICES:
                yield f"{name}.AssumeRolePolicyDocument", f"trusts {shown(principal)}, expected {sorted(SERVICES)}"
            asked = {key for values in (statement.get("Condition") or {}).values() for key in values}
            if DEPUTIES & set(map(str, services)) and "aws:SourceAccount" not in asked:
                yield f"{name}.AssumeRolePolicyDocument", "has no condition on aws:SourceAccount"


def _unknown_policies(template: Template) -> Iterator[tuple[str, str]]:
    for name, role in template.of_type(ROLE).items():
        for policy in _items(role.get("ManagedPolicyArns")):
            text = str(policy.get(SUB, policy) if isinstance(policy, Mapping) else policy)
            if text.rpartition("/")[2] not in MANAGED_POLICIES:
                yield f"{name}.ManagedPolicyArns", f"has {text}, expected one of {sorted(MANAGED_POLICIES)}"


def _too_narrow(template: Template) -> Iterator[tuple[str, str]]:
    """Find roles of tasks that lack what PaperBroker calls, or that reach only a part of the tables."""
    for definition, values in template.of_type(TASK_DEFINITION).items():
        role = target(values.get("TaskRoleArn"))
        mine = [one for place, one in _statements(template) if place.startswith(f"{role}.")]
        allowed = {str(a) for one in mine if one.get("Effect") == "Allow" for a in _items(one.get("Action"))}
        denied = [one for one in mine if one.get("Effect") != "Allow"]
        for action in sorted(NEEDED - allowed):
            yield f"{role} of {definition}", f"does not allow {action}"
        for one in denied:
            yield f"{role} of {definition}", f"denies {shown(one.get('Action'))}"
        for one in mine:
            if any(str(action).startswith("dynamodb:") for action in _items(one.get("Action"))):
                yield from _unreached_tables(template, role, _items(one.get("Resource")))


def _unreached_tables(template: Template, role: str, resources: list[Any]) -> Iterator[tuple[str, str]]:
    everything = any(str(item.get(SUB, "")).endswith(f"table/{STACK_NAME}-*") for item in resources if SUB in item)
    named = {target(item) for item in resources if isinstance(item, Mapping) and {GET_ATT, REF} & set(item)}
    for table in template.of_type("AWS::DynamoDB::Table"):
        if not everything and table not in named:
            yield role, f"does not reach {table}"


def _role_without_trust(template: Template) -> Iterator[tuple[str, str]]:
    for name, values in template.of_type(TASK_DEFINITION).items():
        for member in ("TaskRoleArn", "ExecutionRoleArn"):
            for value in template.at(values, (member,)):
                if template.resources.get(target(value), {}).get("Type") != ROLE:
                    yield f"{name}.{member}", f"is {shown(value)}, expected a role of this template"


RULES: tuple[Rule, ...] = (
    Rule(name="least-privilege", why="a role must not reach beyond its own stack", find=_too_wide),
    Rule(name="trusted-services", why="only the service that needs a role may assume it", find=_too_trusting),
    Rule(name="managed-policies", why="a managed policy gives more than a statement shows", find=_unknown_policies),
    Rule(name="needed-permissions", why="PaperBroker's calls would be denied in an account", find=_too_narrow),
    Rule(name="task-roles", why="a task without its role can call nothing", find=_role_without_trust),
)
