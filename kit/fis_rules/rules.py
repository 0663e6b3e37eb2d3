"""Check an experiment template as CreateExperimentTemplate does: the API, CloudFormation and the linter share it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from kit.fis_rules.action_rules import action_problems
from kit.fis_rules.problems import PROBLEMS_MAX, UNKNOWN, Problem
from kit.fis_rules.schedule_rules import schedule_problems
from kit.fis_rules.shapes import ShapeReader, model
from kit.fis_rules.target_rules import target_problems
from kit.fis_rules.template import StopCondition, Template, template_of

# AWS's quotas allow some hundred values. A template beyond these bounds is not read, or not to its end.
VALUES_MAX = 5_000
ACTIONS_MAX = 20
STOP_CONDITIONS_MAX = 5
ALARM_SOURCE = "aws:cloudwatch:alarm"
NO_SOURCE = "none"
LOG_SCHEMA_VERSIONS = (1, 2)
REQUEST_SHAPE = "CreateExperimentTemplateRequest"
# SDKs add the token themselves; neither a file nor CloudFormation holds one.
TOKEN = "clientToken"

_ALARM_ARN = re.compile(r"arn:aws[\w-]*:cloudwatch:[a-z0-9-]+:\d{12}:alarm:.+")
_ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/.+")
_LOG_GROUP_ARN = re.compile(r"arn:aws[\w-]*:logs:[a-z0-9-]+:\d{12}:log-group:[^:]+:\*")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTemplate:
    """A template as read, and every reason why AWS refuses it. `request` is in the API's notation."""

    request: Any
    template: Template
    problems: tuple[Problem, ...]


def check_template(body: Any, *, is_cloudformation: bool = False) -> CheckedTemplate:
    """Read a request without its client token, or the properties of a resource in CloudFormation's notation."""
    if count_values(body, VALUES_MAX) > VALUES_MAX:
        problem = Problem(
            rule="template-size", path="", message=f"a template of more than {VALUES_MAX} values is not read"
        )
        return CheckedTemplate(request=UNKNOWN, template=template_of(UNKNOWN), problems=(problem,))
    reader, shape = ShapeReader(is_cloudformation=is_cloudformation), model().shape_for(REQUEST_SHAPE)
    members = {name: member for name, member in shape.members.items() if name != TOKEN}
    required = [name for name in shape.required_members if name != TOKEN]
    # CloudFormation requires Targets, which may be empty.
    request = reader.read_members(members, [*required, *(["targets"] if is_cloudformation else [])], body, "")
    template = template_of(request)
    problems = islice(chain(reader.problems, template_problems(template)), PROBLEMS_MAX)
    return CheckedTemplate(request=request, template=template, problems=tuple(problems))


def count_values(value: Any, stop_at: int) -> int:
    """Count the values inside a value, one more than `stop_at` at most; what YAML aliases share counts each time."""
    count, todo = 0, [value]
    while todo and count <= stop_at:
        each = todo.pop()
        count += 1
        if isinstance(each, Mapping | list):
            todo += each.values() if isinstance(each, Mapping) else each
    return count


def template_problems(template: Template) -> Iterator[Problem]:
    """Check everything that AWS validates beyond shapes."""
    if template.role_arn is not UNKNOWN and not _ROLE_ARN.fullmatch(template.role_arn):
        message = f"roleArn {template.role_arn!r} must be the ARN of an IAM role"
        yield Problem(rule="role-arn", path="", message=message)
    if template.tags is not UNKNOWN:
        yield from tag_problems(template.tags)
    yield from _check_stop_conditions(template)
    yield from target_problems(template)
    yield from _check_action_count(template)
    yield from action_problems(template)
    yield from schedule_problems(template)
    if isinstance(template.log_configuration, Mapping):
        yield from _check_log_configuration(template.log_configuration)


def tag_problems(tags: Mapping[str, Any]) -> Iterator[Problem]:
    """Refuse the tag keys that AWS reserves."""
    for key in tags:
        if key.lower().startswith("aws:"):
            yield Problem(rule="tag-key-reserved", path="tags", message=f"tag key {key!r} must not start with aws:")


def _check_stop_conditions(template: Template) -> Iterator[Problem]:
    if template.stop_conditions is UNKNOWN:
        return
    conditions = template.stop_conditions
    if not conditions:
        message = f"stopConditions is empty; name a CloudWatch alarm (source {ALARM_SOURCE}), or the source 'none'"
        yield Problem(rule="stop-condition-present", path="", message=message)
    if len(conditions) > STOP_CONDITIONS_MAX:
        message = f"{len(conditions)} stop conditions exceed the quota of {STOP_CONDITIONS_MAX}"
        yield Problem(rule="stop-conditions-at-most-5", path="", message=message, is_quota=True)
    for condition in conditions:
        yield from _check_stop_condition(condition, is_alone=len(conditions) == 1)


def _check_stop_condition(condition: StopCondition, *, is_alone: bool) -> Iterator[Problem]:
    source, value = condition.source, condition.value
    message = ""
    if source == ALARM_SOURCE:
        if value is not UNKNOWN and not (value and _ALARM_ARN.fullmatch(value)):
            message = f"stop condition value {value!r} must be the ARN of a CloudWatch alarm"
    elif source == NO_SOURCE:
        if value or not is_alone:
            message = "the stop condition source 'none' has no value and stands alone"
    elif source is not UNKNOWN:
        message = f"stop condition source {source!r} must be {ALARM_SOURCE} or {NO_SOURCE}"
    if message:
        yield Problem(rule="stop-condition-alarm", path="", message=message)


def _check_action_count(template: Template) -> Iterator[Problem]:
    count = len(template.known_actions())
    if not count and template.actions is not UNKNOWN:
        yield Problem(rule="actions-at-least-1", path="", message="a template needs at least one action")
    if count > ACTIONS_MAX:
        message = f"{count} actions in a template exceed the quota of {ACTIONS_MAX}"
        yield Problem(rule="actions-at-most-20", path="", message=message, is_quota=True)


def _check_log_configuration(configuration: Mapping[str, Any]) -> Iterator[Problem]:
    rule, where = "log-configuration", "logConfiguration"
    if configuration.get("logSchemaVersion") not in (*LOG_SCHEMA_VERSIONS, UNKNOWN):
        yield Problem(rule=rule, path=where, message=f"logSchemaVersion must be one of {LOG_SCHEMA_VERSIONS}")
    logs = configuration.get("cloudWatchLogsConfiguration")
    if not logs and not configuration.get("s3Configuration"):
        message = "cloudWatchLogsConfiguration or s3Configuration is required"
        yield Problem(rule=rule, path=where, message=message)
    arn = logs.get("logGroupArn", UNKNOWN) if isinstance(logs, Mapping) else UNKNOWN
    if arn is not UNKNOWN and not _LOG_GROUP_ARN.fullmatch(arn):
        message = f"logGroupArn {arn!r} must be the ARN of a log group, ending in ':*'"
        yield Problem(rule=rule, path=where, message=message)
