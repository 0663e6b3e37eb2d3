"""The operations of FIS: each takes the control plane and a request that the model accepts, and returns the response.

`OPERATIONS` maps the model's names of operations to them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kit.fis_rules.catalog import ACTIONS
from kit.fis_rules.rules import TOKEN
from kit.fis_rules.specs import ActionSpec
from kit.fis_rules.target_types import TARGET_TYPES
from kit.local.fis import templates
from kit.local.fis.control_plane import ControlPlane
from kit.local.fis.engine import STOPPED_BY_USER
from kit.local.fis.errors import Conflict, InvalidRequest, NotFound
from kit.local.fis.templates import arn_of

PAGE_MAX = 100
TAGS_MAX = 50

Request = Mapping[str, Any]
Response = dict[str, Any]


def create_experiment_template(plane: ControlPlane, request: Request) -> Response:
    body = templates.checked({name: value for name, value in request.items() if name != TOKEN})
    template_id = plane.once(
        "CreateExperimentTemplate", request, lambda: plane.add_template(templates.create(body))["id"]
    )
    return {"experimentTemplate": plane.template(template_id)}


def get_experiment_template(plane: ControlPlane, request: Request) -> Response:
    return {"experimentTemplate": plane.template(request["id"])}


def update_experiment_template(plane: ControlPlane, request: Request) -> Response:
    template = templates.updated(plane.template(request["id"]), request)
    return {"experimentTemplate": plane.replace_template(template)}


def delete_experiment_template(plane: ControlPlane, request: Request) -> Response:
    template = plane.template(request["id"])
    plane.remove_template(template["id"])
    return {"experimentTemplate": template}


def list_experiment_templates(plane: ControlPlane, request: Request) -> Response:
    newest_first = sorted(plane.templates.values(), key=lambda each: each["creationTime"], reverse=True)
    return _page("experimentTemplates", [templates.summary(each) for each in newest_first], request)


def start_experiment(plane: ControlPlane, request: Request) -> Response:
    tags = request.get("tags") or {}
    templates.check_tags(tags)
    template = plane.template(request["experimentTemplateId"])
    mode = (request.get("experimentOptions") or {}).get("actionsMode", "run-all")
    experiment_id = plane.once(
        "StartExperiment", request, lambda: plane.start_experiment(template, actions_mode=mode, tags=tags).id
    )
    return {"experiment": plane.experiment(experiment_id).describe()}


def stop_experiment(plane: ControlPlane, request: Request) -> Response:
    experiment = plane.experiment(request["id"])
    if not experiment.is_active:
        raise InvalidRequest(f"experiment {experiment.id} is {experiment.status} and cannot be stopped")
    plane.end_experiment(experiment.id, STOPPED_BY_USER)
    return {"experiment": experiment.describe()}


def get_experiment(plane: ControlPlane, request: Request) -> Response:
    return {"experiment": plane.experiment(request["id"]).describe()}


def list_experiments(plane: ControlPlane, request: Request) -> Response:
    template_id = request.get("experimentTemplateId")
    newest_first = sorted(plane.experiments.values(), key=lambda each: each.created_at, reverse=True)
    shown = [each.summary() for each in newest_first if template_id in (None, each.template["id"])]
    return _page("experiments", shown, request)


def list_experiment_resolved_targets(plane: ControlPlane, request: Request) -> Response:
    experiment = plane.experiment(request["experimentId"])
    name = request.get("targetName")
    if name is not None and name not in experiment.template["targets"]:
        raise InvalidRequest(f"experiment {experiment.id} has no target {name}")
    return _page("resolvedTargets", experiment.resolved_targets(name), request)


def list_experiment_target_account_configurations(plane: ControlPlane, request: Request) -> Response:
    # Only single-account experiments run here, so none has target accounts.
    plane.experiment(request["experimentId"])
    return {"targetAccountConfigurations": []}


def get_experiment_target_account_configuration(plane: ControlPlane, request: Request) -> Response:
    plane.experiment(request["experimentId"])
    raise NotFound.for_id("Target account configuration", request["accountId"])


def get_action(plane: ControlPlane, request: Request) -> Response:
    spec = ACTIONS.get(request["id"])
    if spec is None:
        raise NotFound.for_id("Action", request["id"])
    parameters = {
        name: {"description": f"{name} ({parameter.kind})", "required": parameter.required}
        for name, parameter in spec.parameters.items()
    }
    return {"action": {**_action_summary(spec), "parameters": parameters}}


def list_actions(plane: ControlPlane, request: Request) -> Response:
    return _page("actions", [_action_summary(spec) for _, spec in sorted(ACTIONS.items())], request)


def get_target_resource_type(plane: ControlPlane, request: Request) -> Response:
    found = TARGET_TYPES.get(request["resourceType"])
    if found is None:
        raise NotFound.for_id("Resource type", request["resourceType"])
    shown = {name: {"description": name, "required": spec.required} for name, spec in found.parameters.items()}
    resource_type = {"resourceType": request["resourceType"], "description": found.description, "parameters": shown}
    return {"targetResourceType": resource_type}


def list_target_resource_types(plane: ControlPlane, request: Request) -> Response:
    shown = [{"resourceType": name, "description": found.description} for name, found in sorted(TARGET_TYPES.items())]
    return _page("targetResourceTypes", shown, request)


def get_safety_lever(plane: ControlPlane, request: Request) -> Response:
    return {"safetyLever": _lever(plane, request)}


def update_safety_lever_state(plane: ControlPlane, request: Request) -> Response:
    _lever(plane, request)
    reason = request["state"]["reason"]
    if not reason.strip():
        raise InvalidRequest("a reason is required to move the safety lever")
    return {"safetyLever": plane.move_lever(request["state"]["status"], reason)}


def list_tags_for_resource(plane: ControlPlane, request: Request) -> Response:
    return {"tags": _tags(plane, request["resourceArn"])}


def tag_resource(plane: ControlPlane, request: Request) -> Response:
    templates.check_tags(request["tags"])
    tags = _tags(plane, request["resourceArn"])
    if len({**tags, **request["tags"]}) > TAGS_MAX:
        raise InvalidRequest(f"{request['resourceArn']} would have more than {TAGS_MAX} tags")
    tags.update(request["tags"])
    return {}


def untag_resource(plane: ControlPlane, request: Request) -> Response:
    tags = _tags(plane, request["resourceArn"])
    for key in request.get("tagKeys") or list(tags):
        tags.pop(key, None)
    return {}


def create_target_account_configuration(plane: ControlPlane, request: Request) -> Response:
    template = plane.template(request["experimentTemplateId"])
    if template["experimentOptions"]["accountTargeting"] != "multi-account":
        raise InvalidRequest(f"template {template['id']} is single-account and has no target accounts")

    def make() -> str:
        accounts = plane.target_accounts.setdefault(template["id"], {})
        if request["accountId"] in accounts:
            raise Conflict(f"template {template['id']} already targets account {request['accountId']}")
        accounts[request["accountId"]] = {key: request.get(key) for key in ("accountId", "roleArn", "description")}
        template["targetAccountConfigurationsCount"] = len(accounts)
        return request["accountId"]

    account_id = plane.once("CreateTargetAccountConfiguration", request, make)
    return {"targetAccountConfiguration": plane.target_accounts[template["id"]][account_id]}


def get_target_account_configuration(plane: ControlPlane, request: Request) -> Response:
    return {"targetAccountConfiguration": _target_account(plane, request)}


def update_target_account_configuration(plane: ControlPlane, request: Request) -> Response:
    configuration = _target_account(plane, request)
    configuration.update({key: request[key] for key in ("roleArn", "description") if key in request})
    return {"targetAccountConfiguration": configuration}


def delete_target_account_configuration(plane: ControlPlane, request: Request) -> Response:
    configuration = _target_account(plane, request)
    template = plane.template(request["experimentTemplateId"])
    del plane.target_accounts[template["id"]][request["accountId"]]
    template["targetAccountConfigurationsCount"] -= 1
    return {"targetAccountConfiguration": configuration}


def list_target_account_configurations(plane: ControlPlane, request: Request) -> Response:
    template = plane.template(request["experimentTemplateId"])
    accounts = plane.target_accounts.get(template["id"]) or {}
    return _page("targetAccountConfigurations", list(accounts.values()), request)


def _action_summary(spec: ActionSpec) -> Response:
    targets = {slot: {"resourceType": resource_type} for slot, resource_type in spec.targets.items()}
    return {
        "id": spec.id,
        "arn": arn_of("action", spec.id),
        "description": spec.description,
        "targets": targets,
        "tags": {},
    }


def _lever(plane: ControlPlane, request: Request) -> Response:
    lever = plane.lever()
    if request["id"] != lever["id"]:
        raise NotFound.for_id("Safety lever", request["id"])
    return lever


def _tags(plane: ControlPlane, arn: str) -> dict[str, str]:
    """Return the tags of a template or an experiment, to read or to change."""
    for template in plane.templates.values():
        if template["arn"] == arn:
            return template["tags"]
    for experiment in plane.experiments.values():
        if experiment.arn == arn:
            return experiment.tags
    raise NotFound.for_id("Resource", arn)


def _target_account(plane: ControlPlane, request: Request) -> dict[str, Any]:
    template = plane.template(request["experimentTemplateId"])
    configuration = (plane.target_accounts.get(template["id"]) or {}).get(request["accountId"])
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


OPERATIONS: Mapping[str, Callable[[ControlPlane, Request], Response]] = {
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
