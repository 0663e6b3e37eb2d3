"""Turn the properties of a template's resource into the API's request, and check them as the API does."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kit.errors import KitError
from kit.local.requests import models
from kit.local.requests.contract import Contract, Resource, contracts
from kit.local.requests.gate import Gate
from kit.local.requests.problems import UNSERVED, Refused
from kit.local.requests.shapes import NOT_SERVED, Check, compile_check

# CloudFormation makes up a name that is not given, and has tags in a form of its own.
TAGS = "Tags"
NAME = "Name"
GENERATED = "generated"

Properties = Mapping[str, Any]

_GATE = Gate({})


class PropertyRefused(KitError):
    """A property that the operation does not have, or a value that AWS or the local AWS refuses."""


def members(service: str, action: str) -> frozenset[str]:
    """Return the names of the members of an operation's request."""
    shape = models.model(service).operation_model(action).input_shape
    return frozenset(shape.members) if shape is not None else frozenset()


def request_of(service: str, action: str, properties: Properties) -> dict[str, Any]:
    """Return the request that properties make, checked as the gate checks requests over HTTP.

    The names of properties may differ from the API's in case only. Raises PropertyRefused.
    """
    request = from_template(models.model(service).operation_model(action).input_shape, properties)
    try:
        _GATE.check(_contract(service), action, request)
    except Refused as refused:
        raise PropertyRefused(str(refused)) from refused
    return request


def check_properties(resource_type: str, properties: Properties) -> None:
    """Raise Refused unless the API honours the properties. A type that no contract names is not checked."""
    found = _resources().get(resource_type)
    if found is None:
        return
    contract, resource = found
    shape = models.model(contract.service).operation_model(resource.operation).input_shape
    own = {name: value for name, value in properties.items() if name in resource.also}
    given = {name: value for name, value in properties.items() if name != TAGS and name not in own}
    for name, value in own.items():
        _check_own(contract, name, resource.also[name], value)
    if resource.is_own_form:
        _refuse_all(given)
        return
    request = from_template(shape, given)
    for name in shape.required_members:
        if name.endswith(NAME):
            request.setdefault(name, GENERATED)
    _check(resource_type)(request)


def made_types() -> frozenset[str]:
    """Return the types whose making a contract describes."""
    return frozenset(_resources())


def _check_own(contract: Contract, name: str, rules: str, value: Any) -> None:
    """Check a property by the member of another operation that `rules` names; "" has no rules."""
    if not rules:
        return
    shape, check = _member_check(contract.service, rules)
    try:
        check(from_template(shape, value))
    except Refused as refused:
        refused.path.insert(0, name)
        raise


def _refuse_all(properties: Properties) -> None:
    """Raise Refused for the first property that asks for something."""
    for name, value in properties.items():
        if value not in (None, "", [], {}):
            refused = Refused(UNSERVED, NOT_SERVED)
            refused.path = [name]
            raise refused


def from_template(shape: Any, value: Any) -> Any:
    """Return properties by the API's names, with the numbers and booleans that a template may have as text.

    Properties that the API does not have keep their names, so that the check refuses them.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        names = {name.lower(): name for name in shape.members}
        renamed = {names.get(str(key).lower(), key): item for key, item in value.items()}
        return {
            key: from_template(shape.members[key], item) if key in shape.members else item
            for key, item in renamed.items()
        }
    if kind == "list" and isinstance(value, str):
        # A parameter of type CommaDelimitedList may arrive as one text.
        value = [item.strip() for item in value.split(",")]
    if kind == "list" and isinstance(value, list):
        return [from_template(shape.member, item) for item in value]
    if kind == "map" and isinstance(value, Mapping):
        return {str(key): from_template(shape.value, item) for key, item in value.items()}
    return _scalar(kind, value)


def _scalar(kind: str, value: Any) -> Any:
    if kind == "boolean" and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    if kind in ("integer", "long", "float", "double") and isinstance(value, str):
        try:
            return float(value) if "." in value or kind in ("float", "double") else int(value)
        except ValueError:
            return value
    if kind == "string" and isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


@functools.cache
def _contract(service: str) -> Contract:
    return next(contract for contract in contracts() if contract.service == service)


@functools.cache
def _resources() -> dict[str, tuple[Contract, Resource]]:
    return {each.type: (contract, each) for contract in contracts() for each in contract.resources}


@functools.cache
def _member_check(service: str, rules: str) -> tuple[Any, Check]:
    """Return the shape and the check of a member of an operation ("PutTargets.Targets")."""
    name, *path = rules.split(".")
    contract = next(each for each in contracts() if each.service == service)
    shape, member = models.model(service).operation_model(name).input_shape, contract.operations[name].request
    for part in path:
        shape, inner = shape.members[part], member.of(part)
        if inner is None:
            raise ValueError(f"{contract.path}: {rules} is not honoured, so no property can have its rules")
        member = inner
    return shape, compile_check(shape, member)


@functools.cache
def _check(resource_type: str) -> Check:
    contract, resource = _resources()[resource_type]
    honoured = contract.operations[resource.operation].request
    # What has another form in a template is not checked here, and so it is not required here either.
    members = {name: member for name, member in honoured.members.items() if name not in resource.also}
    shape = models.model(contract.service).operation_model(resource.operation).input_shape
    return compile_check(shape, replace(honoured, members=members))
