"""Create, update and delete the CloudFormation resources of elbv2 by the operations of its API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ministack.services import alb
from ministack.services.cloudformation import provisioners

from kit.errors import KitError
from kit.local.alb import configuration
from kit.local.alb.control import load_balancers, query, target_groups
from kit.local.alb.operations import Handler
from kit.local.alb.wire import RequestRefused
from kit.local.patching import Patches, require
from kit.local.requests import templates

Properties = dict[str, Any]
PREFIX = "AWS::ElasticLoadBalancingV2::"
NAME_LENGTH_MAX = 32


class ResourceFailed(KitError):
    """The resource could not be created, updated or deleted. The message becomes the reason of the stack event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of resource: its operations, and the properties that are no members of them.

    `updates` are the operations that change it; each takes the changed properties that are its members.
    """

    name: str
    result: str
    arn: str
    create: str
    delete: str
    updates: tuple[str, ...]
    fixed: tuple[str, ...] = ()
    attributes_property: str = ""
    attributes_action: str = ""


KINDS = (
    Kind(
        name="LoadBalancer", result="LoadBalancers", arn="LoadBalancerArn", create="CreateLoadBalancer",
        delete="DeleteLoadBalancer", updates=("SetSubnets", "SetSecurityGroups", "SetIpAddressType"),
        attributes_property="LoadBalancerAttributes",
        attributes_action="ModifyLoadBalancerAttributes",
    ),
    Kind(
        name="TargetGroup", result="TargetGroups", arn="TargetGroupArn", create="CreateTargetGroup",
        delete="DeleteTargetGroup", updates=("ModifyTargetGroup",), attributes_property="TargetGroupAttributes",
        attributes_action="ModifyTargetGroupAttributes",
    ),
    Kind(
        name="Listener", result="Listeners", arn="ListenerArn", create="CreateListener", delete="DeleteListener",
        updates=("ModifyListener",), fixed=("LoadBalancerArn",), attributes_property="ListenerAttributes",
        attributes_action="ModifyListenerAttributes",
    ),
    Kind(
        name="ListenerRule", result="Rules", arn="RuleArn", create="CreateRule", delete="DeleteRule",
        updates=("ModifyRule",), fixed=("ListenerArn",),
    ),
)  # fmt: skip


def install(patches: Patches, handlers: Mapping[str, Handler]) -> None:
    """Replace MiniStack's handlers."""
    require(provisioners, "_physical_name", "_delete_predecessor")
    for kind in KINDS:
        resource = Resource(kind, handlers)
        own = {"create": resource.create, "update": resource.update, "delete": resource.delete}
        patches.replace_entry(
            provisioners, "_RESOURCE_HANDLERS", PREFIX + kind.name, {**own, "update_with_logical_id": True}
        )
        patches.pass_stack_tags(PREFIX + kind.name, "list")


class Resource:
    """The handlers of one type of resource."""

    def __init__(self, kind: Kind, handlers: Mapping[str, Handler]) -> None:
        self._kind = kind
        self._handlers = handlers

    def create(self, logical_id: str, props: Properties, stack_name: str) -> tuple[str, dict[str, Any]]:
        """Create the resource. Nothing is left if a part of it is refused."""
        kind = self._kind
        request = {name: value for name, value in props.items() if name not in ("Tags", *self._own_properties)}
        if "Name" in self._members(kind.create):
            lower = kind.name == "LoadBalancer"
            default = provisioners._physical_name(stack_name, logical_id, lowercase=lower, max_len=NAME_LENGTH_MAX)
            request["Name"] = props.get("Name") or default
        if given := _users_tags(props):
            request["Tags"] = given
        reply = self._call(kind.create, request)
        arn = reply[kind.result][0][kind.arn]
        try:
            self._set_attributes(arn, props)
            for target in props.get("Targets") or []:
                self._call("RegisterTargets", {"TargetGroupArn": arn, "Targets": [target]})
        except ResourceFailed:
            self._call(kind.delete, {kind.arn: arn})
            raise
        alb._tags[arn] = _tags(props)
        return arn, self._outputs(arn)

    def update(
        self, arn: str, old: Properties, new: Properties, stack_name: str, logical_id: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Update the resource in place, or replace it if a property cannot be changed."""
        kind = self._kind
        if any(old.get(name) != new.get(name) for name in kind.fixed):
            created = self.create(logical_id or arn, new, stack_name)
            provisioners._delete_predecessor(self.delete, arn, old)
            return created
        changed = {name for name in {*old, *new} - {"Tags", *self._own_properties} if old.get(name) != new.get(name)}
        if new.get("Targets") != old.get("Targets"):
            raise ResourceFailed("Targets cannot be changed here; AWS would register and deregister them")
        for action in kind.updates:
            if members := changed & self._members(action):
                self._call(action, {kind.arn: arn, **{name: self._after(name, new) for name in members}})
            changed -= self._members(action)
        if "Priority" in changed:
            self._call("SetRulePriorities", {"RulePriorities": [{"RuleArn": arn, "Priority": new["Priority"]}]})
            changed.remove("Priority")
        if changed:
            raise ResourceFailed(f"{PREFIX}{kind.name}: a change of {sorted(changed)[0]} is not served here")
        if new.get(kind.attributes_property) != old.get(kind.attributes_property):
            self._set_attributes(arn, new)
        alb._tags[arn] = _tags(new)
        return arn, self._outputs(arn)

    def delete(self, arn: str, props: Properties) -> None:
        """Delete the resource, if it exists."""
        stores = {"LoadBalancer": "_lbs", "TargetGroup": "_tgs", "Listener": "_listeners", "ListenerRule": "_rules"}
        if arn in getattr(alb, stores[self._kind.name]):
            self._call(self._kind.delete, {self._kind.arn: arn})

    @property
    def _own_properties(self) -> tuple[str, ...]:
        """The properties that are no members of the operation that creates the resource."""
        return (self._kind.attributes_property, *(("Targets",) if self._kind.name == "TargetGroup" else ()))

    def _after(self, name: str, props: Properties) -> Any:
        """Return the value of a property after an update; AWS's default if the template no longer has it."""
        if name in props:
            return props[name]
        defaults = {**target_groups.CHECK_DEFAULTS, "IpAddressType": "ipv4", "SecurityGroups": []}
        if name not in defaults:
            raise ResourceFailed(f"{PREFIX}{self._kind.name}: {name} cannot be removed here")
        return defaults[name]

    def _set_attributes(self, arn: str, props: Properties) -> None:
        given = props.get(self._kind.attributes_property)
        if given:
            self._call(self._kind.attributes_action, {self._kind.arn: arn, "Attributes": given})

    def _call(self, action: str, request: Properties) -> dict[str, Any]:
        """Call an operation. Raises ResourceFailed if it is refused."""
        try:
            members = templates.request_of("elbv2", action, request)
            return self._handlers[action](query.with_required(action, members))
        except templates.PropertyRefused as error:
            raise ResourceFailed(f"{PREFIX}{self._kind.name}: {error}") from error
        except RequestRefused as error:
            raise ResourceFailed(
                f'Resource handler returned message: "{error} (Service: ElasticLoadBalancingV2, Status Code: 400)" '
                f"(HandlerErrorCode: {error.code})"
            ) from error

    @staticmethod
    def _members(action: str) -> frozenset[str]:
        return templates.members("elbv2", action)

    def _outputs(self, arn: str) -> dict[str, Any]:
        """Return the values of Fn::GetAtt."""
        match self._kind.name:
            case "LoadBalancer":
                record = alb._lbs[arn]
                return {
                    "Arn": arn, "LoadBalancerArn": arn, "LoadBalancerName": record["LoadBalancerName"],
                    "DNSName": record["DNSName"], "LoadBalancerFullName": arn.partition(":loadbalancer/")[2],
                    "CanonicalHostedZoneID": load_balancers.HOSTED_ZONE, "SecurityGroups": record["SecurityGroups"],
                }  # fmt: skip
            case "TargetGroup":
                return {
                    "TargetGroupArn": arn, "TargetGroupName": alb._tgs[arn]["TargetGroupName"],
                    "TargetGroupFullName": configuration.full_group_name(arn),
                    # The listener that connects the group is created later.
                    "LoadBalancerArns": [],
                }  # fmt: skip
            case "Listener":
                return {"ListenerArn": arn, "Arn": arn}
        return {"RuleArn": arn, "IsDefault": False}


def _tags(props: Properties) -> list[dict[str, str]]:
    """Return the tags of the template, of the stack and of CloudFormation."""
    return [{"Key": tag["Key"], "Value": str(tag.get("Value", ""))} for tag in props.get("Tags") or []]


def _users_tags(props: Properties) -> list[dict[str, str]]:
    """Return the tags without those of CloudFormation, which only AWS itself may set."""
    return [tag for tag in _tags(props) if not tag["Key"].startswith("aws:")]
