"""The operations of FIS: each takes a validated request and gives the response. No HTTP, no engine.

`OPERATIONS` maps the model's operation names to them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kit.local.fis import templates
from kit.local.fis.catalog import ACTIONS, TARGET_TYPES, ActionSpec
from kit.local.fis.engine import STOPPED_BY_USER
from kit.local.fis.errors import Conflict, InvalidRequest, NotFound
from kit.local.fis.templates import arn_of

if TYPE_CHECKING:
    from kit.local.fis.service import Fis

PAGE_MAX = 100

Request = Mapping[str, Any]
Response = dict[str, Any]


def create_experiment_template(fis: Fis, request: Request) -> Response:
    templates.check_tags(request.get("tags") or {})
    template_id = fis.once(
        "CreateExperimentTemplate", request, lambda: fis.add_template(templates.create(request))["id"]
    )
    return {"experimentTemplate": fis.template(template_id)}


def get_experiment_template(fis: Fis, request: Request) -> Response:
    return {"experimentTemplate": fis.template(request["id"])}


def update_experiment_template(fis: Fis, request: Request) -> Response:
    template = templates.updated(fis.template(request["id"]), request)
    fis.templates[template["id"]] = template
    return {"experimentTemplate": template}


def delete_experiment_template(fis: Fis, request: Request) -> Response:
    template = fis.template(request["id"])
    del fis.templates[template["id"]]
    fis.target_accounts.pop(template["id"], None)
    return {"experimentTemplate": template}


def list_experiment_templates(fis: Fis, request: Request) -> Response:
    newest_first = sorted(fis.templates.values(), key=lambda each: each["creationTime"], reverse=True)
    return _page("experimentTemplates", [templates.summary(each) for each in newest_first], request)


def start_experiment(fis: Fis, request: Request) -> Response:
    tags = request.get("tags") or {}
    templates.check_tags(tags)
    template = fis.template(request["experimentTemplateId"])
    mode = (request.get("experimentOptions") or {}).get("actionsMode", "run-all")
    experiment_id = fis.once("StartExperiment", request, lambda: fis.launch(template, actions_mode=mode, tags=tags).id)
    return {"experiment": fis.experiment(experiment_id).describe()}


def stop_experiment(fis: Fis, request: Request) -> Response:
    experiment = fis.experiment(request["id"])
    if not experiment.is_active:
        raise InvalidRequest(f"experiment {experiment.id} is {experiment.status} and cannot be stopped")
    fis.end(experiment.id, STOPPED_BY_USER)
    return {"experiment": experiment.describe()}


def get_experiment(fis: Fis, request: Request) -> Response:
    return {"experiment": fis.experiment(request["id"]).describe()}


def list_experiments(fis: Fis, request: Request) -> Response:
    template_id = request.get("experimentTemplateId")
    newest_first = sorted(fis.experiments.values(), key=lambda each: each.created_at, reverse=True)
    shown = [each.summary() for each in newest_first if template_id in (None, each.template["id"])]
    return _page("experiments", shown, request)


def list_experiment_resolved_targets(fis: Fis, request: Request) -> Response:
    experiment = fis.experiment(request["experimentId"])
    name = request.get("targetName")
    if name is not None and name not in experiment.template["targets"]:
        raise InvalidRequest(f"experiment {experiment.id} has no target {name}")
    return _page("resolvedTargets", experiment.resolved_targets(name), request)


def list_experiment_target_account_configurations(fis: Fis, request: Request) -> Response:
    # Experiments are single-account here: none can have any.
    fis.experiment(request["experimentId"])
    return {"targetAccountConfigurations": []}


def get_experiment_target_account_configuration(fis: Fis, request: Request) -> Response:
    fis.experiment(request["experimentId"])
    raise NotFound.for_id("Target account configuration", request["accountId"])


def get_action(fis: Fis, request: Request) -> Response:
    spec = ACTIONS.get(request["id"])
    if spec is None:
        raise NotFound.for_id("Action", request["id"])
    parameters = {
        name: {"description": f"{name} ({parameter.kind})", "required": parameter.required}
        for name, parameter in spec.parameters.items()
    }
    return {"action": {**_action_summary(spec), "parameters": parameters}}


def list_actions(fis: Fis, request: Request) -> Response:
    return _page("actions", [_action_summary(spec) for _, spec in sorted(ACTIONS.items())], request)


def get_target_resource_type(fis: Fis, request: Request) -> Response:
    found = TARGET_TYPES.get(request["resourceType"])
    if found is None:
        raise NotFound.for_id("Resource type", request["resourceType"])
    description, parameters = found
    shown = {name: {"description": name, "required": required} for name, required in parameters.items()}
    resource_type = {"resourceType": request["resourceType"], "description": description, "parameters": shown}
    return {"targetResourceType": resource_type}


def list_target_resource_types(fis: Fis, request: Request) -> Response:
    shown = [{"resourceType": name, "description": found[0]} for name, found in sorted(TARGET_TYPES.items())]
    return _page("targetResourceTypes", shown, request)


def get_safety_lever(fis: Fis, request: Request) -> Response:
    return {"safetyLever": _lever(fis, request)}


def update_safety_lever_state(fis: Fis, request: Request) -> Response:
    _lever(fis, request)
    reason = request["state"]["reason"]
    if not reason.strip():
        raise InvalidRequest("a reason is required to move the safety lever")
    return {"safetyLever": fis.move_lever(request["state"]["status"], reason)}


def list_tags_for_resource(fis: Fis, request: Request) -> Response:
    return {"tags": _tags(fis, request["resourceArn"])}


def tag_resource(fis: Fis, request: Request) -> Response:
    templates.check_tags(request["tags"])
    tags = _tags(fis, request["resourceArn"])
    if len({**tags, **request["tags"]}) > TAGS_MAX:
        raise InvalidRequest(f"{request['resourceArn']} would have more than {TAGS_MAX} tags")
    tags.update(request["tags"])
    return {}


def untag_resource(fis: Fis, request: Request) -> Response:
    tags = _tags(fis, request["resourceArn"])
    for key in request.get("tagKeys") or list(tags):
        tags.pop(key, None)
    return {}


def create_target_account_configuration(fis: Fis, request: Request) -> Response:
    template = fis.template(request["experimentTemplateId"])
    if template["experimentOptions"]["accountTargeting"] != "multi-account":
        raise InvalidRequest(f"template {template['id']} is single-account and has no target accounts")

    def make() -> str:
        accounts = fis.target_accounts.setdefault(template["id"], {})
        if request["accountId"] in accounts:
            raise Conflict(f"template {template['id']} already targets account {request['accountId']}")
        accounts[request["accountId"]] = {key: request.get(key) for key in ("accountId", "roleArn", "description")}
        template["targetAccountConfigurationsCount"] = len(accounts)
        return request["accountId"]

    account_id = fis.once("CreateTargetAccountConfiguration", request, make)
    return {"targetAccountConfiguration": fis.target_accounts[template["id"]][account_id]}


def get_target_account_configuration(fis: Fis, request: Request) -> Response:
    return {"targetAccountConfiguration": _target_account(fis, request)}


def update_target_account_configuration(fis: Fis, request: Request) -> Response:
    configuration = _target_account(fis, request)
    configuration.update({key: request[key] for key in ("roleArn", "description") if key in request})
    return {"targetAccountConfiguration": configuration}


def delete_target_account_configuration(fis: Fis, request: Request) -> Response:
    configuration = _target_account(fis, request)
    template = fis.template(request["experimentTemplateId"])
    del fis.target_accounts[template["id"]][request["accountId"]]
    template["targetAccountConfigurationsCount"] -= 1
    return {"targetAccountConfiguration": configuration}


def list_target_account_configurations(fis: Fis, request: Request) -> Response:
    template = fis.template(request["experimentTemplateId"])
    accounts = fis.target_accounts.get(template["id"]) or {}
    return _page("targetAccountConfigurations", list(accounts.values()), request)


TAGS_MAX = 50


def _action_summary(spec: ActionSpec) -> Response:
    targets = {slot: {"resourceType": resource_type} for slot, resource_type in spec.targets.items()}
    return {
        "id": spec.id,
        "arn": arn_of("action", spec.id),
        "description": spec.description,
        "targets": targets,
        "tags": {},
    }


def _lever(fis: Fis, request: Request) -> Response:
    lever = fis.lever()
    if request["id"] != lever["id"]:
        raise NotFound.for_id("Safety lever", request["id"])
    return lever


def _tags(fis: Fis, arn: str) -> dict[str, str]:
    """The live tag map of a template or an experiment."""
    for template in fis.templates.values():
        if template["arn"] == arn:
            return template["tags"]
    for experiment in fis.experiments.values():
        if experiment.arn == arn:
            return experiment.tags
    raise NotFound.for_id("Resource", arn)


def _target_account(fis: Fis, request: Request) -> dict[str, Any]:
    template = fis.template(request["experimentTemplateId"])
    configuration = (fis.target_accounts.get(template["id"]) or {}).get(request["accountId"])
    if configuration is None:
        raise NotFound.for_id("Target account configuration", request["accountId"])
    return configuration


def _page(name: str, items: Sequence[Any], request: Request) -> Response:
    start = _offset(request.get("nextToken"))
    end = start + int(request.get("maxResults") or PAGE_MAX)
    token = base64.urlsafe_b64encode(f"fis:{end}".encode()).decode() if end < len(items) else None
    return {name: list(items[start:end]), "nextToken": token}


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        prefix, _, offset = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        prefix, offset = "", ""
    if prefix != "fis" or not offset.isdigit():
        raise InvalidRequest(f"nextToken {token!r} is not valid")
    return int(offset)


OPERATIONS: Mapping[str, Callable[[Fis, Request], Response]] = {
    "CreateExperimentTemplate": create_experiment_template,
    "CreateTargetAccountConfiguration": create_target_account_configuration,
    "DeleteExperimentTemplate": delete_experiment_template,
    "DeleteTargetAccountConfiguration": delete_target_account_configuration,
    "GetAction": get_action,
    "GetExperiment": get_experiment,
    "GetExperimentTargetAccountConfiguration": get_experiment_target_account_configuration,
    "GetExperimentTemplate": get_experiment_template,
    "GetSafetyLever": get_safety_lever,
    "GetTargetAccountConfiguration": get_target_account_configuration,
    "GetTargetResourceType": get_target_resource_type,
    "ListActions": list_actions,
    "ListExperimentResolvedTargets": list_experiment_resolved_targets,
    "ListExperimentTargetAccountConfigurations": list_experiment_target_account_configurations,
    "ListExperimentTemplates": list_experiment_templates,
    "ListExperiments": list_experiments,
    "ListTagsForResource": list_tags_for_resource,
    "ListTargetAccountConfigurations": list_target_account_configurations,
    "ListTargetResourceTypes": list_target_resource_types,
    "StartExperiment": start_experiment,
    "StopExperiment": stop_experiment,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
    "UpdateExperimentTemplate": update_experiment_template,
    "UpdateSafetyLeverState": update_safety_lever_state,
    "UpdateTargetAccountConfiguration": update_target_account_configuration,
}
