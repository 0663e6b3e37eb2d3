"""Make AWS::StepFunctions::StateMachine and ::Activity for CloudFormation, by the operations of the API.

`Ref` is the ARN. As on AWS, an update keeps the machine; a change of its name or type replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ministack.core import responses
from ministack.services.cloudformation import provisioners

from kit.errors import KitError
from kit.local.main_loop import on_main_loop
from kit.local.patching import Patches, require
from kit.local.stepfunctions import operations_activities, operations_machines
from kit.local.stepfunctions.api_call import Call
from kit.local.stepfunctions.definition import checks
from kit.local.stepfunctions.engine import Engine
from kit.local.stepfunctions.errors import ApiError
from kit.local.stepfunctions.log_delivery import check_logging
from kit.local.stepfunctions.machines import LOGGING_OFF, STANDARD, check_name, check_role

MACHINE, ACTIVITY = "AWS::StepFunctions::StateMachine", "AWS::StepFunctions::Activity"
NAME_CHARS_MAX = 80

Props = dict[str, Any]


class ResourceFailed(KitError):
    """The resource could not be made. The message becomes the reason of the stack's event."""


def install(patches: Patches, engine: Engine) -> None:
    """Add the resource types."""
    require(provisioners, "_sfn_definition", "_physical_name")
    machine, activity = _Machine(engine), _Activity(engine)
    for kind, resource in ((MACHINE, machine), (ACTIVITY, activity)):
        handlers = {
            # CloudFormation works in threads; the engine's values belong to the event loop.
            "create": on_main_loop(resource.create),
            "update": on_main_loop(resource.update),
            "update_with_logical_id": True,
            "delete": on_main_loop(resource.delete),
        }
        patches.add_resource_type(kind, handlers, tags="list")


def _call(engine: Engine, request: Mapping[str, Any]) -> Call:
    return Call(engine=engine, request=request, account=responses.get_account_id(), region=responses.get_region())


def _tags(props: Props) -> list[dict[str, str]]:
    return [{"key": tag["Key"], "value": tag.get("Value", "")} for tag in props.get("Tags") or ()]


class _Machine:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, logical_id: str, props: Props, stack_name: str) -> tuple[str, Props]:
        name = props.get("StateMachineName") or provisioners._physical_name(
            stack_name, logical_id, max_len=NAME_CHARS_MAX
        )
        kind = props.get("StateMachineType", STANDARD)
        request = {**self._request(props, kind), "tags": _tags(props)}
        try:
            made = operations_machines.create(
                _call(self._engine, request), check_name(name), kind, check_role(request["roleArn"]),
                request["loggingConfiguration"],
            )  # fmt: skip
        except ApiError as error:
            raise ResourceFailed(f"{logical_id}: {error}") from error
        return made["stateMachineArn"], self._attributes(made["stateMachineArn"])

    def update(
        self, physical_id: str, old: Props, new: Props, stack_name: str, logical_id: str | None = None
    ) -> tuple[str, Props]:
        machine = self._engine.machines.find(physical_id)
        fixed = ("StateMachineName", "StateMachineType")
        if machine is None or any(old.get(name) != new.get(name) for name in fixed):
            made = provisioners._seeded_create(self.create, logical_id or physical_id, new, stack_name)
            provisioners._delete_predecessor(self.delete, physical_id, old)
            return made
        request = self._request(new, machine.revision.kind)
        operations_machines.update(_call(self._engine, request), machine)
        machine.tags.clear()
        machine.tags.update({tag["key"]: tag["value"] for tag in _tags(new)})
        return physical_id, self._attributes(physical_id)

    def delete(self, physical_id: str, props: Props) -> None:
        if self._engine.machines.remove(physical_id) is not None:
            self._engine.stop_all_of(physical_id)

    def _attributes(self, arn: str) -> Props:
        revision = self._engine.machines.get(arn).revision
        return {"Arn": arn, "Name": revision.name, "StateMachineRevisionId": revision.revision_id}

    def _request(self, props: Props, kind: str) -> dict[str, Any]:
        """Return the request that the properties make. Raises ResourceFailed."""
        definition = provisioners._sfn_definition(props)
        found = checks.problems(definition, kind)
        if found:
            raise ResourceFailed(str(operations_machines.invalid(found)))
        if not props.get("RoleArn"):
            raise ResourceFailed("RoleArn is required")
        return {
            "definition": definition,
            "roleArn": props["RoleArn"],
            "type": kind,
            "loggingConfiguration": check_logging(_lowered(props.get("LoggingConfiguration") or {}) or LOGGING_OFF),
        }


def _lowered(value: Any) -> Any:
    """Return a property with the names of the API."""
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: _lowered(item) for name, item in value.items()}
    return [_lowered(item) for item in value] if isinstance(value, list) else value


class _Activity:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, logical_id: str, props: Props, stack_name: str) -> tuple[str, Props]:
        name = props.get("Name") or provisioners._physical_name(stack_name, logical_id, max_len=NAME_CHARS_MAX)
        request = {"name": name, "tags": _tags(props)}
        try:
            made = operations_activities.create_activity(_call(self._engine, request))
        except ApiError as error:
            raise ResourceFailed(f"{logical_id}: {error}") from error
        return made["activityArn"], {"Arn": made["activityArn"], "Name": name}

    def update(
        self, physical_id: str, old: Props, new: Props, stack_name: str, logical_id: str | None = None
    ) -> tuple[str, Props]:
        activity = self._engine.activities.find(physical_id)
        if activity is None or old.get("Name") != new.get("Name"):
            made = provisioners._seeded_create(self.create, logical_id or physical_id, new, stack_name)
            provisioners._delete_predecessor(self.delete, physical_id, old)
            return made
        activity.tags.clear()
        activity.tags.update({tag["key"]: tag["value"] for tag in _tags(new)})
        return physical_id, {"Arn": physical_id, "Name": activity.name}

    def delete(self, physical_id: str, props: Props) -> None:
        self._engine.activities.delete(physical_id)
