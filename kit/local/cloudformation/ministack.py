"""Patch MiniStack's CloudFormation: it makes only what acts, and reads every property.

MiniStack makes resources of some hundred types that nothing serves (caches, builds, hosted zones), and its provisioners
ignore the properties that they do not know. In both cases the stack would be complete.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import Any

from ministack.services.cloudformation import changesets, engine, handlers, provisioners, stacks

from kit.local.cloudformation.harmless import is_harmless
from kit.local.cloudformation.watched import Watched
from kit.local.patching import Patches
from kit.local.requests.problems import Refused
from kit.local.requests.templates import check_properties, made_types

CUSTOM = "Custom::"
CLOUDFORMATION = "AWS::CloudFormation::"
VALIDATION = "validate_template_support"

# Types that no API of theirs makes, and those whose handlers MiniStack has and a room of ours replaces or corrects.
KEPT = frozenset({
    "AWS::CDK::Metadata", "AWS::CloudFormation::CustomResource", "AWS::CloudFormation::Stack",
    "AWS::CloudFormation::WaitCondition", "AWS::CloudFormation::WaitConditionHandle",
    "AWS::DynamoDB::GlobalTable", "AWS::ECS::Cluster", "AWS::ECS::Service", "AWS::ECS::TaskDefinition",
    "AWS::ElasticLoadBalancingV2::Listener", "AWS::ElasticLoadBalancingV2::ListenerRule",
    "AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::ElasticLoadBalancingV2::TargetGroup",
    "AWS::StepFunctions::StateMachine",
})  # fmt: skip

Properties = dict[str, Any]
# Set while a resource is updated. A type without an update handler is created again under its name.
_updating: contextvars.ContextVar[bool] = contextvars.ContextVar("updating", default=False)


def install(patches: Patches) -> None:
    """Remove the types that nothing serves, and patch the provisioning and the update of resources."""
    removed = sorted(set(provisioners._RESOURCE_HANDLERS) - KEPT - made_types())
    for resource_type in removed:
        patches.remove_entry(provisioners, "_RESOURCE_HANDLERS", resource_type)
    for module in (engine, handlers, changesets, stacks):
        if hasattr(module, VALIDATION):
            patches.wrap(module, VALIDATION, functools.partial(_explain, frozenset(removed)))
    for module in (provisioners, stacks):
        patches.wrap(module, "_provision_resource", _create)
        patches.wrap(module, "_update_resource", _update)


def _explain(removed: frozenset[str], validate: Callable[..., Any], template: Any, *rest: Any, **named: Any) -> Any:
    """Validate a template. Raises ValueError, which tells a type that is not served from one that AWS does not have."""
    try:
        return validate(template, *rest, **named)
    except ValueError as error:
        known = sorted(each for each in removed if f"{each}," in f"{error}".replace("]", ","))
        if not known:
            raise
        raise ValueError(f"{error}; {', '.join(known)}: not served here; AWS would make the resource") from error


def _create(create: Callable[..., Any], resource_type: str, logical_id: str, props: Properties, stack_name: str) -> Any:
    """Create a resource, and delete it again if a property was not read. Raises ValueError, which fails the stack."""
    if resource_type.startswith(CUSTOM):
        return create(resource_type, logical_id, props, stack_name)
    if resource_type.startswith(CLOUDFORMATION) and resource_type not in provisioners._RESOURCE_HANDLERS:
        # MiniStack would record the resource and make nothing.
        raise ValueError(f"{logical_id}: {resource_type} is not served here")
    _check(resource_type, logical_id, props)
    watched = Watched(props)
    created = create(resource_type, logical_id, watched, stack_name)
    ignored = [name for name in watched.unread() if not is_harmless(resource_type, name, props[name])]
    if ignored:
        if not _updating.get():
            provisioners._delete_resource(resource_type, created[0], props, stack_name, logical_id)
        raise _not_served(resource_type, logical_id, ignored)
    return created


def _update(
    update: Callable[..., Any],
    resource_type: str,
    physical_id: str,
    old: Properties,
    new: Properties,
    stack_name: str,
    logical_id: str | None = None,
    *rest: Any,
) -> Any:
    """Update a resource. Raises ValueError for a change that was not read, which rolls the stack back."""
    if new != old:
        _check(resource_type, logical_id or physical_id, new)
    watched = Watched(new)
    before = _updating.set(True)
    try:
        updated = update(resource_type, physical_id, old, watched, stack_name, logical_id, *rest)
    finally:
        _updating.reset(before)
    changed = [name for name in watched.unread() if new[name] != old.get(name)]
    ignored = [name for name in changed if not is_harmless(resource_type, name, new[name])]
    if ignored and not resource_type.startswith(CUSTOM):
        raise _not_served(resource_type, logical_id or physical_id, ignored)
    return updated


def _check(resource_type: str, logical_id: str, props: Properties) -> None:
    """Raise ValueError for properties that the API of the resource refuses."""
    try:
        check_properties(resource_type, props)
    except Refused as refused:
        raise ValueError(f"{logical_id} ({resource_type}): {refused}") from refused


def _not_served(resource_type: str, logical_id: str, names: list[str]) -> ValueError:
    return ValueError(f"{logical_id}: {', '.join(names)} of {resource_type} is not served here")
