"""Experiment templates: what AWS refuses in one, and how it is shown.

A template is kept in the API's own shape (camelCase dicts), because everything that reads it, CloudFormation
included, speaks that shape. Knows the catalog; no resources, no experiments.
"""

import re
import secrets
import string
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ministack.core.responses import get_account_id, get_region

from kit.local.fis.catalog import ACTIONS, TARGET_TYPES, ActionSpec
from kit.local.fis.durations import DURATION_S_MAX, parse_duration_s
from kit.local.fis.errors import InvalidRequest, QuotaExceeded
from kit.local.fis.parameters import check_parameters
from kit.local.fis.selection_mode import parse_mode

TEMPLATES_MAX = 500
ACTIONS_MAX = 20
PARALLEL_ACTIONS_MAX = 10
STOP_CONDITIONS_MAX = 5
ID_LETTERS = 17

ALARM_SOURCE = "aws:cloudwatch:alarm"
NO_SOURCE = "none"
LOG_SCHEMA_VERSIONS = (1, 2)

_ALARM_ARN = re.compile(r"arn:aws[\w-]*:cloudwatch:[a-z0-9-]+:\d{12}:alarm:.+")
_ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/.+")
_LOG_GROUP_ARN = re.compile(r"arn:aws[\w-]*:logs:[a-z0-9-]+:\d{12}:log-group:[^:]+:\*")
_FILTER_PATH = re.compile(r"[A-Z][A-Za-z0-9]*(\.[A-Z][A-Za-z0-9]*)*")

Template = dict[str, Any]


def make_id(prefix: str) -> str:
    """`EXT…` or `EXP…`, as AWS makes them."""
    return prefix + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(ID_LETTERS))


def arn_of(kind: str, identifier: str) -> str:
    """An ARN of FIS in the caller's account and region."""
    return f"arn:aws:fis:{get_region()}:{get_account_id()}:{kind}/{identifier}"


def create(request: Mapping[str, Any]) -> Template:
    """A new template from a CreateExperimentTemplate request that satisfies the model."""
    now = time.time()
    template_id = make_id("EXT")
    options = {
        "accountTargeting": "single-account",
        "emptyTargetResolutionMode": "fail",
        **(request.get("experimentOptions") or {}),
    }
    template: Template = {
        "id": template_id,
        "arn": arn_of("experiment-template", template_id),
        "description": request["description"],
        "targets": request.get("targets") or {},
        "actions": request["actions"],
        "stopConditions": request["stopConditions"],
        "creationTime": now,
        "lastUpdateTime": now,
        "roleArn": request["roleArn"],
        "tags": dict(request.get("tags") or {}),
        "logConfiguration": request.get("logConfiguration"),
        "experimentOptions": options,
        "targetAccountConfigurationsCount": 0,
        "experimentReportConfiguration": request.get("experimentReportConfiguration"),
    }
    check_template(template)
    return template


def updated(template: Template, request: Mapping[str, Any]) -> Template:
    """The template after an UpdateExperimentTemplate request: what is given replaces what was there."""
    changed = {
        name: request[name]
        for name in (
            "description", "targets", "actions", "stopConditions", "roleArn", "logConfiguration",
            "experimentReportConfiguration",
        )
        if name in request
    }  # fmt: skip
    options = {**template["experimentOptions"], **(request.get("experimentOptions") or {})}
    new = {**template, **changed, "experimentOptions": options, "lastUpdateTime": time.time()}
    for name, action in new["actions"].items():
        if not action.get("actionId"):
            raise InvalidRequest(f"action {name} has no actionId")
    check_template(new)
    return new


def summary(template: Template) -> dict[str, Any]:
    """As ListExperimentTemplates shows it."""
    return {key: template[key] for key in ("id", "arn", "description", "creationTime", "lastUpdateTime", "tags")}


def check_template(template: Template) -> None:
    """Everything that AWS validates beyond the model."""
    if not _ROLE_ARN.fullmatch(template["roleArn"]):
        raise InvalidRequest(f"roleArn {template['roleArn']!r} must be the ARN of an IAM role")
    _check_stop_conditions(template["stopConditions"])
    for name, target in template["targets"].items():
        _check_target(name, target)
    _check_actions(template["actions"], template["targets"])
    _check_log_configuration(template.get("logConfiguration"))


def check_tags(tags: Mapping[str, str]) -> None:
    """A caller may not set the tags that AWS reserves."""
    for key in tags:
        if key.lower().startswith("aws:"):
            raise InvalidRequest(f"tag key {key!r} must not start with aws:")


def _check_stop_conditions(conditions: list[dict[str, str]]) -> None:
    if not conditions:
        raise InvalidRequest("stopConditions must not be empty; use the source 'none' to have none")
    if len(conditions) > STOP_CONDITIONS_MAX:
        raise QuotaExceeded.for_quota("stop conditions", len(conditions), STOP_CONDITIONS_MAX)
    for condition in conditions:
        source, value = condition["source"], condition.get("value")
        if source == ALARM_SOURCE:
            if not value or not _ALARM_ARN.fullmatch(value):
                raise InvalidRequest(f"stop condition value {value!r} must be the ARN of a CloudWatch alarm")
        elif source != NO_SOURCE:
            raise InvalidRequest(f"stop condition source {source!r} must be {ALARM_SOURCE} or {NO_SOURCE}")
        elif value or len(conditions) > 1:
            raise InvalidRequest("the stop condition source 'none' has no value and stands alone")


def _check_target(name: str, target: Mapping[str, Any]) -> None:
    where = f"target {name}"
    known = TARGET_TYPES.get(target["resourceType"])
    if known is None:
        raise InvalidRequest(f"{where}: resource type {target['resourceType']!r} does not exist")
    parse_mode(target["selectionMode"])
    arns, tags = target.get("resourceArns") or [], target.get("resourceTags") or {}
    filters, parameters = target.get("filters") or [], target.get("parameters") or {}
    if arns and tags:
        raise InvalidRequest(f"{where}: resourceArns and resourceTags exclude each other")
    if arns and filters:
        raise InvalidRequest(f"{where}: filters cannot be used with resourceArns")
    if not arns and not tags and not parameters:
        raise InvalidRequest(f"{where} needs resourceArns, resourceTags or parameters")
    for arn in arns:
        if not arn.startswith("arn:"):
            raise InvalidRequest(f"{where}: {arn!r} is no ARN")
    if len(set(arns)) != len(arns):
        raise InvalidRequest(f"{where}: resourceArns must be unique")
    for each in filters:
        if not _FILTER_PATH.fullmatch(each["path"]) or not each["values"]:
            raise InvalidRequest(f"{where}: filter path {each['path']!r} must be PascalCase and have values")
    _check_target_parameters(where, known[1], parameters)


def _check_target_parameters(where: str, known: Mapping[str, bool], given: Mapping[str, str]) -> None:
    for name in given:
        if name not in known:
            raise InvalidRequest(f"{where} has no parameter {name}")
    for name, required in known.items():
        if required and name not in given:
            raise InvalidRequest(f"{where} requires the parameter {name}")


def _check_actions(actions: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
    if not actions:
        raise InvalidRequest("a template needs at least one action")
    if len(actions) > ACTIONS_MAX:
        raise QuotaExceeded.for_quota("actions a template", len(actions), ACTIONS_MAX)
    for name, action in actions.items():
        spec = ACTIONS.get(action["actionId"])
        if spec is None:
            raise InvalidRequest(f"action {name}: {action['actionId']!r} is no action of AWS FIS")
        check_parameters(f"action {name}", spec, action.get("parameters") or {})
        _check_action_targets(name, spec, action.get("targets") or {}, targets)
        if spec.id == "aws:network:disrupt-connectivity":
            _check_prefix_list(name, action["parameters"])
    _check_order(actions)


def _check_action_targets(name: str, spec: ActionSpec, given: Mapping[str, str], targets: Mapping[str, Any]) -> None:
    for slot, target_name in given.items():
        if slot not in spec.targets:
            raise InvalidRequest(f"action {name}: {spec.id} has no target {slot}")
        target = targets.get(target_name)
        if target is None:
            raise InvalidRequest(f"action {name}: target {target_name} is not defined")
        if target["resourceType"] != spec.targets[slot]:
            raise InvalidRequest(
                f"action {name}: target {target_name} is {target['resourceType']}, {slot} must be {spec.targets[slot]}"
            )
    for slot in spec.targets:
        if slot not in given:
            raise InvalidRequest(f"action {name}: {spec.id} requires the target {slot}")


def _check_prefix_list(name: str, parameters: Mapping[str, str]) -> None:
    if (parameters["scope"] == "prefix-list") != ("prefixListIdentifier" in parameters):
        raise InvalidRequest(f"action {name}: prefixListIdentifier goes with the scope prefix-list, and only with it")


def _check_order(actions: Mapping[str, Any]) -> None:
    """Names that exist, no circles, at most twelve hours and ten actions at a time."""
    for name, action in actions.items():
        for before in action.get("startAfter") or ():
            if before not in actions:
                raise InvalidRequest(f"action {name} starts after {before}, which is not defined")
    ends_s: dict[str, float] = {}
    while len(ends_s) < len(actions):
        ready = [
            name
            for name, action in actions.items()
            if name not in ends_s and all(before in ends_s for before in action.get("startAfter") or ())
        ]
        if not ready:
            waiting = ", ".join(sorted(set(actions) - set(ends_s)))
            raise InvalidRequest(f"actions wait for each other in a circle: {waiting}")
        for name in ready:
            ends_s[name] = _start_s(actions[name], ends_s) + duration_s(actions[name])
    if max(ends_s.values()) > DURATION_S_MAX:
        raise QuotaExceeded.for_quota("seconds of an experiment", int(max(ends_s.values())), int(DURATION_S_MAX))
    _check_parallel(actions, ends_s)


def _check_parallel(actions: Mapping[str, Any], ends_s: Mapping[str, float]) -> None:
    spans = [(_start_s(action, ends_s), ends_s[name]) for name, action in actions.items()]
    busiest = max(sum(start <= at < max(end, start + 1) for start, end in spans) for at, _ in spans)
    if busiest > PARALLEL_ACTIONS_MAX:
        raise QuotaExceeded.for_quota("parallel actions", busiest, PARALLEL_ACTIONS_MAX)


def _start_s(action: Mapping[str, Any], ends_s: Mapping[str, float]) -> float:
    return max((ends_s[before] for before in action.get("startAfter") or ()), default=0.0)


def duration_s(action: Mapping[str, Any]) -> float:
    """How long the action is held; 0 for those that only do something."""
    text = (action.get("parameters") or {}).get("duration")
    return parse_duration_s(text) if text else 0.0


def _check_log_configuration(configuration: Mapping[str, Any] | None) -> None:
    if configuration is None:
        return
    if configuration.get("logSchemaVersion") not in LOG_SCHEMA_VERSIONS:
        raise InvalidRequest(f"logSchemaVersion must be one of {LOG_SCHEMA_VERSIONS}")
    logs = configuration.get("cloudWatchLogsConfiguration")
    if not logs and not configuration.get("s3Configuration"):
        raise InvalidRequest("logConfiguration needs cloudWatchLogsConfiguration or s3Configuration")
    if logs and not _LOG_GROUP_ARN.fullmatch(logs["logGroupArn"]):
        raise InvalidRequest(f"logGroupArn {logs['logGroupArn']!r} must be a log group's ARN ending in ':*'")


def alarm_arns(stop_conditions: Iterable[Mapping[str, str]]) -> list[str]:
    """The alarms that stop an experiment."""
    return [each["value"] for each in stop_conditions if each["source"] == ALARM_SOURCE]
