"""Serve the operations on versions and aliases of state machines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kit.local.stepfunctions.api_call import Call, Operation, Response
from kit.local.stepfunctions.errors import ApiError
from kit.local.stepfunctions.machines import Alias, StateMachine, base_arn
from kit.local.stepfunctions.operations_machines import check_machine_arn
from kit.local.stepfunctions.wire import page

ALIASES_MAX = 100
_ALIAS = re.compile(r"(?=.*[a-zA-Z_\-.])[a-zA-Z0-9_\-.]{1,80}")


def publish_state_machine_version(call: Call) -> Response:
    request = call.request
    machine = call.engine.machines.get(check_machine_arn(request["stateMachineArn"]))
    wanted = request.get("revisionId")
    if wanted is not None and wanted != machine.revision.revision_id:
        raise ApiError(
            "ConflictException",
            f"Failed to publish the State Machine version for revision {wanted}. The current State Machine revision "
            f"is {machine.revision.revision_id}.",
        )
    version = machine.publish(request.get("description", ""), call.now())
    return {"creationDate": version.created_at, "stateMachineVersionArn": version.arn}


def list_state_machine_versions(call: Call) -> Response:
    machine = call.engine.machines.of(check_machine_arn(call.request["stateMachineArn"]))
    newest_first = sorted(machine.versions.items(), reverse=True)
    shown = [{"stateMachineVersionArn": each.arn, "creationDate": each.created_at} for _, each in newest_first]
    return page("stateMachineVersions", shown, call.request)


def delete_state_machine_version(call: Call) -> Response:
    arn = check_machine_arn(call.request["stateMachineVersionArn"])
    machine = call.engine.machines.find(base_arn(arn))
    version = machine.version(arn) if machine is not None else None
    if machine is None or version is None:
        return {}
    users = [alias.name for alias in machine.aliases.values() if arn in _versions(alias.routing)]
    if users:
        raise ApiError(
            "ConflictException",
            "Version to be deleted must not be referenced by an alias. Current list of aliases referencing this "
            f"version: [{', '.join(users)}]",
        )
    machine.versions = {number: each for number, each in machine.versions.items() if each is not version}
    return {}


def create_state_machine_alias(call: Call) -> Response:
    request, now = call.request, call.now()
    name, routing = request["name"], request["routingConfiguration"]
    if not _ALIAS.fullmatch(name):
        raise ApiError(
            "ValidationException", f"'{name}' is not a name of an alias: it needs a character that is no digit"
        )
    machine = _routed(call, routing)
    arn = f"{machine.arn}:{name}"
    known = machine.aliases.get(arn)
    if known is not None:
        if (known.routing, known.description) != (routing, request.get("description", "")):
            raise ApiError(
                "ConflictException", f"Failed to create alias because an alias with the same name exists: '{arn}'"
            )
        return {"stateMachineAliasArn": arn, "creationDate": known.created_at}
    if len(machine.aliases) >= ALIASES_MAX:
        raise ApiError("ServiceQuotaExceededException", f"A state machine has at most {ALIASES_MAX} aliases")
    machine.aliases[arn] = Alias(
        arn=arn, name=name, description=request.get("description", ""), routing=routing, created_at=now, updated_at=now
    )
    return {"stateMachineAliasArn": arn, "creationDate": now}


def describe_state_machine_alias(call: Call) -> Response:
    alias = _alias(call)
    return {
        "stateMachineAliasArn": alias.arn, "name": alias.name, "description": alias.description,
        "routingConfiguration": alias.routing, "creationDate": alias.created_at, "updateDate": alias.updated_at,
    }  # fmt: skip


def update_state_machine_alias(call: Call) -> Response:
    alias, request = _alias(call), call.request
    if "routingConfiguration" in request:
        if _routed(call, request["routingConfiguration"]).arn != base_arn(alias.arn):
            raise ApiError("ValidationException", "The routing configuration names versions of another state machine")
        alias.routing = request["routingConfiguration"]
    alias.description = request.get("description", alias.description)
    alias.updated_at = call.now()
    return {"updateDate": alias.updated_at}


def delete_state_machine_alias(call: Call) -> Response:
    alias = _alias(call)
    call.engine.machines.of(alias.arn).aliases.pop(alias.arn)
    return {}


def list_state_machine_aliases(call: Call) -> Response:
    arn = check_machine_arn(call.request["stateMachineArn"])
    machine = call.engine.machines.of(arn)
    is_version = machine.version(arn) is not None
    found = [each for each in machine.aliases.values() if not is_version or arn in _versions(each.routing)]
    shown = [{"stateMachineAliasArn": each.arn, "creationDate": each.created_at} for each in found]
    return page("stateMachineAliases", shown, call.request)


def _alias(call: Call) -> Alias:
    arn = check_machine_arn(call.request["stateMachineAliasArn"])
    machine = call.engine.machines.find(base_arn(arn))
    found = machine.aliases.get(arn) if machine is not None else None
    if found is None:
        raise ApiError("ResourceNotFound", f"Request references a resource that does not exist: '{arn}'")
    return found


def _versions(routing: list[dict[str, Any]]) -> list[str]:
    return [entry["stateMachineVersionArn"] for entry in routing]


def _routed(call: Call, routing: list[dict[str, Any]]) -> StateMachine:
    """Return the machine whose versions a routing names. Raises ApiError."""
    arns = [check_machine_arn(arn) for arn in _versions(routing)]
    if len(set(arns)) != len(arns) or len({base_arn(arn) for arn in arns}) != 1:
        raise ApiError("ValidationException", "A routing configuration names one or two versions of one state machine")
    if sum(entry["weight"] for entry in routing) != 100:
        raise ApiError("ValidationException", "Sum of routing configuration weights must equal 100")
    machine = call.engine.machines.of(arns[0])
    for arn in arns:
        if machine.version(arn) is None:
            raise ApiError("ResourceNotFound", f"Request references a resource that does not exist: '{arn}'")
    return machine


OPERATIONS: Mapping[str, Operation] = {
    "PublishStateMachineVersion": publish_state_machine_version,
    "ListStateMachineVersions": list_state_machine_versions,
    "DeleteStateMachineVersion": delete_state_machine_version,
    "CreateStateMachineAlias": create_state_machine_alias,
    "DescribeStateMachineAlias": describe_state_machine_alias,
    "UpdateStateMachineAlias": update_state_machine_alias,
    "DeleteStateMachineAlias": delete_state_machine_alias,
    "ListStateMachineAliases": list_state_machine_aliases,
}
