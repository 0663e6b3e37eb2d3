"""Make AWS::StepFunctions::StateMachineVersion and ::StateMachineAlias for CloudFormation. `Ref` is the ARN."""

from __future__ import annotations

from typing import Any

from ministack.core import responses
from ministack.services.cloudformation import provisioners

from kit.local.main_loop import on_main_loop
from kit.local.patching import Patches
from kit.local.stepfunctions import operations_versions
from kit.local.stepfunctions.api_call import Call
from kit.local.stepfunctions.cloudformation import NAME_CHARS_MAX, ResourceFailed
from kit.local.stepfunctions.engine import Engine
from kit.local.stepfunctions.errors import ApiError
from kit.local.stepfunctions.machines import base_arn

VERSION, ALIAS = "AWS::StepFunctions::StateMachineVersion", "AWS::StepFunctions::StateMachineAlias"

Props = dict[str, Any]


def install(patches: Patches, engine: Engine) -> None:
    """Add the resource types."""
    for kind, resource in ((VERSION, _Version(engine)), (ALIAS, _Alias(engine))):
        handlers = {
            "create": on_main_loop(resource.create),
            "update": on_main_loop(resource.update),
            "update_with_logical_id": True,
            "delete": on_main_loop(resource.delete),
        }
        patches.add_resource_type(kind, handlers)


class _Version:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, logical_id: str, props: Props, stack_name: str) -> tuple[str, Props]:
        request = {
            "stateMachineArn": props.get("StateMachineArn", ""),
            "revisionId": props.get("StateMachineRevisionId"),
            "description": props.get("Description", ""),
        }
        made = _done(self._engine, logical_id, operations_versions.publish_state_machine_version, request)
        arn = made["stateMachineVersionArn"]
        return arn, {"Arn": arn}

    def update(
        self, physical_id: str, old: Props, new: Props, stack_name: str, logical_id: str | None = None
    ) -> tuple[str, Props]:
        # Every property makes another version, which CloudFormation puts in the place of this one.
        made = provisioners._seeded_create(self.create, logical_id or physical_id, new, stack_name)
        if made[0] != physical_id:
            provisioners._delete_predecessor(self.delete, physical_id, old)
        return made

    def delete(self, physical_id: str, props: Props) -> None:
        request = {"stateMachineVersionArn": physical_id}
        _done(self._engine, physical_id, operations_versions.delete_state_machine_version, request)


class _Alias:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, logical_id: str, props: Props, stack_name: str) -> tuple[str, Props]:
        name = props.get("Name") or provisioners._physical_name(stack_name, logical_id, max_len=NAME_CHARS_MAX)
        request = {"name": name, **_routing(logical_id, props)}
        made = _done(self._engine, logical_id, operations_versions.create_state_machine_alias, request)
        arn = made["stateMachineAliasArn"]
        return arn, {"Arn": arn}

    def update(
        self, physical_id: str, old: Props, new: Props, stack_name: str, logical_id: str | None = None
    ) -> tuple[str, Props]:
        if old.get("Name") != new.get("Name"):
            made = provisioners._seeded_create(self.create, logical_id or physical_id, new, stack_name)
            provisioners._delete_predecessor(self.delete, physical_id, old)
            return made
        request = {"stateMachineAliasArn": physical_id, **_routing(physical_id, new)}
        _done(self._engine, physical_id, operations_versions.update_state_machine_alias, request)
        return physical_id, {"Arn": physical_id}

    def delete(self, physical_id: str, props: Props) -> None:
        machine = self._engine.machines.find(base_arn(physical_id))
        if machine is not None:
            machine.aliases.pop(physical_id, None)


def _routing(where: str, props: Props) -> dict[str, Any]:
    if "DeploymentPreference" in props:
        raise ResourceFailed(f"{where}: DeploymentPreference is not served here; AWS would shift the alias gradually")
    routing = [
        {"stateMachineVersionArn": each.get("StateMachineVersionArn", ""), "weight": int(each.get("Weight", 0))}
        for each in props.get("RoutingConfiguration") or ()
    ]
    if not routing:
        raise ResourceFailed(f"{where}: RoutingConfiguration is required")
    return {"routingConfiguration": routing, "description": props.get("Description", "")}


def _done(engine: Engine, where: str, operation: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Carry out an operation of the API. Raises ResourceFailed."""
    given = {name: value for name, value in request.items() if value is not None}
    account, region = responses.get_account_id(), responses.get_region()
    try:
        return operation(Call(engine=engine, request=given, account=account, region=region))
    except ApiError as error:
        raise ResourceFailed(f"{where}: {error}") from error
