"""Answer the operations of the elbv2 API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ministack.services import alb

from kit.errors import UsageError
from kit.local.alb import wire
from kit.local.alb.control import listeners, load_balancers, query, records, rules, tags, target_groups
from kit.local.alb.control.query import Request
from kit.local.alb.targets import NOT_REGISTERED, State

Handler = Callable[[Request], dict[str, Any]]


class Targets(Protocol):
    """The functions of the data plane that the operations call."""

    def register_address(self, group_arn: str, target_id: str, port: int) -> None:
        """Register a target. Raises UsageError for an address that cannot be reached here."""
        ...

    def deregister_soon(self, group_arn: str, target_id: str, port: int) -> None:
        """Start to drain a target and return."""
        ...

    def describe(self, group_arn: str) -> list[wire.TargetRow]:
        """Return every target of a group."""
        ...


class Operations:
    """The handlers by operation. Those on the targets of a group ask the data plane."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self.handlers: dict[str, Handler] = {
            "CreateLoadBalancer": load_balancers.create_load_balancer,
            "DescribeLoadBalancers": load_balancers.describe_load_balancers,
            "DeleteLoadBalancer": load_balancers.delete_load_balancer,
            "DescribeLoadBalancerAttributes": load_balancers.describe_load_balancer_attributes,
            "ModifyLoadBalancerAttributes": load_balancers.modify_load_balancer_attributes,
            "SetSubnets": load_balancers.set_subnets,
            "SetSecurityGroups": load_balancers.set_security_groups,
            "SetIpAddressType": load_balancers.set_ip_address_type,
            "CreateTargetGroup": target_groups.create_target_group,
            "DescribeTargetGroups": target_groups.describe_target_groups,
            "ModifyTargetGroup": target_groups.modify_target_group,
            "DeleteTargetGroup": target_groups.delete_target_group,
            "DescribeTargetGroupAttributes": target_groups.describe_target_group_attributes,
            "ModifyTargetGroupAttributes": target_groups.modify_target_group_attributes,
            "CreateListener": listeners.create_listener,
            "DescribeListeners": listeners.describe_listeners,
            "ModifyListener": listeners.modify_listener,
            "DeleteListener": listeners.delete_listener,
            "DescribeListenerAttributes": listeners.describe_listener_attributes,
            "ModifyListenerAttributes": listeners.modify_listener_attributes,
            "CreateRule": rules.create_rule,
            "DescribeRules": rules.describe_rules,
            "ModifyRule": rules.modify_rule,
            "DeleteRule": rules.delete_rule,
            "SetRulePriorities": rules.set_rule_priorities,
            "RegisterTargets": self.register_targets,
            "DeregisterTargets": self.deregister_targets,
            "DescribeTargetHealth": self.describe_target_health,
            "AddTags": tags.add_tags,
            "RemoveTags": tags.remove_tags,
            "DescribeTags": tags.describe_tags,
        }

    def register_targets(self, request: Request) -> dict[str, Any]:
        """Answer RegisterTargets."""
        arn = request["TargetGroupArn"]
        for target_id, port in _requested(arn, request):
            try:
                self._targets.register_address(arn, target_id, port)
            except UsageError as error:
                raise wire.RequestRefused("InvalidTarget", str(error)) from error
        return {}

    def deregister_targets(self, request: Request) -> dict[str, Any]:
        """Answer DeregisterTargets."""
        arn = request["TargetGroupArn"]
        for target_id, port in _requested(arn, request):
            self._targets.deregister_soon(arn, target_id, port)
        return {}

    def describe_target_health(self, request: Request) -> dict[str, Any]:
        """Answer DescribeTargetHealth."""
        arn = request["TargetGroupArn"]
        requested = _requested(arn, request)
        rows = self._targets.describe(arn)
        if requested:
            known = {(row[0], row[1]): row for row in rows}
            rows = [known.get((i, p), (i, p, "", State.UNUSED, NOT_REGISTERED)) for i, p in requested]
        check_port = records.group(arn)["HealthCheckPort"]
        return {"TargetHealthDescriptions": [_health(row, check_port) for row in rows]}


def answer(action: str, handler: Handler, params: Mapping[str, Any]) -> Any:
    """Call a handler with the members of a request, and write its answer or its refusal."""
    try:
        return query.answer(action, handler(query.parse(action, params)))
    except wire.RequestRefused as error:
        return alb._error(error.code, str(error))


def _requested(arn: str, request: Request) -> list[tuple[str, int]]:
    """Return id and port of the targets in a request. Raises RequestRefused for an unknown group."""
    port = records.group(arn)["Port"]
    return [(target["Id"], target.get("Port", port)) for target in request.get("Targets") or ()]


def _health(row: wire.TargetRow, check_port: str) -> dict[str, Any]:
    target_id, port, zone, state, reason = row
    return {
        "Target": {"Id": target_id, "Port": port, "AvailabilityZone": zone or None},
        "HealthCheckPort": str(port) if check_port == "traffic-port" else check_port,
        "TargetHealth": {"State": str(state), "Reason": reason.code or None, "Description": reason.text or None},
    }
