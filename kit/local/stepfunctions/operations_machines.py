"""Serve the operations on state machines, their definitions and their tags."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kit.local.stepfunctions.api_call import Call, Operation, Response
from kit.local.stepfunctions.definition import checks
from kit.local.stepfunctions.definition.problems import Problem
from kit.local.stepfunctions.errors import ApiError
from kit.local.stepfunctions.log_delivery import check_logging
from kit.local.stepfunctions.machines import (
    LOGGING_OFF,
    STANDARD,
    TAGS_MAX,
    Machines,
    Revision,
    StateMachine,
    check_name,
    check_role,
    new_revision_id,
    tags_of,
)
from kit.local.stepfunctions.wire import page

DIAGNOSTICS_MAX = 100
METADATA_ONLY = "METADATA_ONLY"
TRACING_OFF = {"enabled": False}


async def create_state_machine(call: Call) -> Response:
    request = call.request
    name, kind = check_name(request["name"]), request.get("type", STANDARD)
    role_arn, logging = check_role(request["roleArn"]), _logging(request)
    _check_description(request)
    await check_definition(request["definition"], kind)
    return create(call, name, kind, role_arn, logging)


def create(call: Call, name: str, kind: str, role_arn: str, logging: Mapping[str, Any]) -> Response:
    """Create a machine whose definition was checked. Doing it twice in the same way is no error. Raises ApiError."""
    request, arn, now = call.request, call.arn("stateMachine", name), call.now()
    known = call.engine.machines.find(arn)
    if known is not None:
        if not _is_same(known, request, kind, logging):
            raise ApiError("StateMachineAlreadyExists", f"State Machine Already Exists: '{arn}'")
        return _created(known)
    revision = Revision(
        arn=arn, name=name, kind=kind, role_arn=role_arn, definition=request["definition"], logging=logging,
        revision_id=new_revision_id(), updated_at=now,
    )  # fmt: skip
    machine = StateMachine(arn=arn, created_at=now, revision=revision, tags=tags_of(request.get("tags") or []))
    if request.get("publish"):
        machine.created_version = machine.publish(request.get("versionDescription", ""), now).arn
    call.engine.machines.add(machine)
    return _created(machine)


def _created(machine: StateMachine) -> Response:
    shown = {"stateMachineArn": machine.arn, "creationDate": machine.created_at}
    return {**shown, "stateMachineVersionArn": machine.created_version} if machine.created_version else shown


def _is_same(known: StateMachine, request: Mapping[str, Any], kind: str, logging: Mapping[str, Any]) -> bool:
    revision = known.revision
    is_published = bool(request.get("publish")) == bool(known.created_version)
    return is_published and (revision.definition, revision.kind, revision.logging) == (
        request["definition"],
        kind,
        logging,
    )


def _check_description(request: Mapping[str, Any]) -> None:
    if "versionDescription" in request and not request.get("publish"):
        raise ApiError("ValidationException", "Version description can only be set when publish is true")


def _logging(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return check_logging(request.get("loggingConfiguration") or LOGGING_OFF)


async def check_definition(text: str, kind: str) -> None:
    """Raise ApiError for a definition that is refused."""
    # Models of services are read from disk, and expressions are parsed.
    found = await asyncio.to_thread(checks.problems, text, kind)
    if found:
        raise invalid(found)


def invalid(found: list[Problem]) -> ApiError:
    """Return the error of a definition."""
    return ApiError("InvalidDefinition", f"Invalid State Machine Definition: '{', '.join(map(str, found))}'")


async def update_state_machine(call: Call) -> Response:
    request = call.request
    machine = _own(call.engine.machines, request["stateMachineArn"])
    names = {"definition", "roleArn", "loggingConfiguration", "tracingConfiguration"}
    if not names & set(request):
        raise ApiError(
            "MissingRequiredParameter",
            "Either the definition, the role ARN, the LoggingConfiguration, "
            "or the TracingConfiguration must be specified",
        )
    _check_description(request)
    if "definition" in request:
        await check_definition(request["definition"], machine.revision.kind)
    return update(call, machine)


def update(call: Call, machine: StateMachine) -> Response:
    """Change a machine whose new definition was checked. Raises ApiError."""
    request, before, now = call.request, machine.revision, call.now()
    machine.revision = replace(
        before,
        definition=request.get("definition", before.definition),
        role_arn=check_role(request["roleArn"]) if "roleArn" in request else before.role_arn,
        logging=_logging(request) if "loggingConfiguration" in request else before.logging,
        revision_id=new_revision_id(),
        updated_at=now,
    )
    shown: Response = {"updateDate": now, "revisionId": machine.revision.revision_id}
    if request.get("publish"):
        shown["stateMachineVersionArn"] = machine.publish(request.get("versionDescription", ""), now).arn
    return shown


def _own(machines: Machines, arn: str) -> StateMachine:
    """Return a machine by its unqualified ARN. Raises ApiError."""
    check_machine_arn(arn)
    return machines.get(arn)


def check_machine_arn(arn: str) -> str:
    """Return the ARN of a machine, a version or an alias. Raises ApiError."""
    parts = arn.split(":")
    if len(parts) < 7 or parts[:3] != ["arn", "aws", "states"]:
        raise ApiError("InvalidArn", f"Invalid Arn: '{arn}'")
    if parts[5] != "stateMachine":
        raise ApiError("InvalidArn", f"Invalid Arn: 'Resource type not valid in this context: {parts[5]}'")
    return arn


def delete_state_machine(call: Call) -> Response:
    arn = check_machine_arn(call.request["stateMachineArn"])
    if call.engine.machines.remove(arn) is not None:
        call.engine.stop_all_of(arn)
    return {}


def describe_state_machine(call: Call) -> Response:
    arn = check_machine_arn(call.request["stateMachineArn"])
    machines = call.engine.machines
    revision = machines.resolve(arn)
    machine = machines.of(arn)
    version = machine.version(arn)
    shown: Response = {
        "stateMachineArn": arn, "name": revision.name, "status": "ACTIVE", "definition": revision.definition,
        "roleArn": revision.role_arn, "type": revision.kind,
        "creationDate": version.created_at if version else machine.created_at, "loggingConfiguration": revision.logging,
        "tracingConfiguration": TRACING_OFF, "revisionId": revision.revision_id,
        "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
    }  # fmt: skip
    if version and version.description:
        shown["description"] = version.description
    if call.request.get("includedData") == METADATA_ONLY:
        shown["definition"] = "{}"
    return shown


def list_state_machines(call: Call) -> Response:
    shown = [
        {
            "stateMachineArn": each.arn,
            "name": each.revision.name,
            "type": each.revision.kind,
            "creationDate": each.created_at,
        }
        for each in call.engine.machines.all(call.prefix)
    ]
    return page("stateMachines", shown, call.request)


async def validate_state_machine_definition(call: Call) -> Response:
    request = call.request
    found = await asyncio.to_thread(checks.problems, request["definition"], request.get("type", STANDARD))
    most = request.get("maxResults") or DIAGNOSTICS_MAX
    diagnostics = [
        {"severity": "ERROR", "code": each.code, "message": each.message, "location": each.location or "/"}
        for each in found[:most]
    ]
    return {"result": "FAIL" if found else "OK", "diagnostics": diagnostics, "truncated": len(found) > most}


def _tags(call: Call) -> dict[str, str]:
    """Return the tags of a machine or an activity, to be changed in place. Raises ApiError."""
    arn = call.request["resourceArn"]
    found = call.engine.machines.find(arn) or call.engine.activities.find(arn)
    if found is None:
        raise ApiError("ResourceNotFound", f"Resource not found: '{arn}'")
    return found.tags


def tag_resource(call: Call) -> Response:
    tags, added = _tags(call), tags_of(call.request["tags"])
    if len({*tags, *added}) > TAGS_MAX:
        raise ApiError("TooManyTags", f"A resource has at most {TAGS_MAX} tags")
    tags.update(added)
    return {}


def untag_resource(call: Call) -> Response:
    tags = _tags(call)
    for key in call.request["tagKeys"]:
        tags.pop(key, None)
    return {}


def list_tags_for_resource(call: Call) -> Response:
    return {"tags": [{"key": key, "value": value} for key, value in _tags(call).items()]}


OPERATIONS: Mapping[str, Operation] = {
    "CreateStateMachine": create_state_machine,
    "UpdateStateMachine": update_state_machine,
    "DeleteStateMachine": delete_state_machine,
    "DescribeStateMachine": describe_state_machine,
    "ListStateMachines": list_state_machines,
    "ValidateStateMachineDefinition": validate_state_machine_definition,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
    "ListTagsForResource": list_tags_for_resource,
}
