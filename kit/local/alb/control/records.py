"""Find the records of load balancers, target groups, listeners and rules in MiniStack's stores, and name new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import alb

from kit.local.alb.wire import RequestRefused

Record = dict[str, Any]
# Rules without a priority come last.
DEFAULT = "default"


def balancer(arn: str) -> Record:
    """Return a load balancer. Raises RequestRefused."""
    return _get(alb._lbs, arn, "LoadBalancerNotFound", f"Load balancer '{arn}' not found")


def group(arn: str) -> Record:
    """Return a target group. Raises RequestRefused."""
    return _get(alb._tgs, arn, "TargetGroupNotFound", f"Target groups '{arn}' not found")


def listener(arn: str) -> Record:
    """Return a listener. Raises RequestRefused."""
    return _get(alb._listeners, arn, "ListenerNotFound", f"Listener '{arn}' not found")


def rule(arn: str) -> Record:
    """Return a rule. Raises RequestRefused."""
    return _get(alb._rules, arn, "RuleNotFound", f"Rule '{arn}' not found")


def _get(store: Any, arn: str, code: str, message: str) -> Record:
    record = store.get(arn)
    if record is None:
        raise RequestRefused(code, message)
    return record


def listeners_of(balancer_arn: str) -> list[Record]:
    """Return the listeners of a load balancer."""
    return [each for each in list(alb._listeners.values()) if each["LoadBalancerArn"] == balancer_arn]


def rules_of(listener_arn: str) -> list[Record]:
    """Return the rules of a listener in the order in which they are tried, the default rule last."""
    own = [each for each in list(alb._rules.values()) if each["ListenerArn"] == listener_arn]
    return sorted(own, key=lambda each: (each["Priority"] == DEFAULT, int(each["Priority"].replace(DEFAULT, "0"))))


def groups_of(actions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the ARNs of the target groups that actions forward to."""
    return [
        entry["TargetGroupArn"]
        for action in actions
        for entry in action.get("ForwardConfig", {}).get("TargetGroups", ())
    ]


def balancers_of(group_arn: str) -> list[str]:
    """Return the ARNs of the load balancers whose listeners or rules forward to a target group."""
    users = {each["ListenerArn"] for each in list(alb._rules.values()) if group_arn in groups_of(each["Actions"])}
    found = (alb._listeners.get(arn) for arn in users)
    return sorted({each["LoadBalancerArn"] for each in found if each is not None})


def arn(kind: str, *parts: str) -> str:
    """Return the ARN of a new resource with a unique id behind the parts of its name."""
    name = "/".join([kind, *parts, alb._short_id()])
    return f"arn:aws:elasticloadbalancing:{get_region()}:{get_account_id()}:{name}"


def name_parts(resource_arn: str) -> Sequence[str]:
    """Return the name and the ids in an ARN, without the kind of resource."""
    return resource_arn.rpartition(":")[2].split("/")[1:]


def page(name: str, items: Sequence[Mapping[str, Any]], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page of a list that the request's `Marker` and `PageSize` select."""
    marker = str(request.get("Marker") or "0")
    if not marker.isdecimal() or int(marker) > len(items):
        raise RequestRefused("ValidationError", f"Invalid marker '{marker}'")
    start, size = int(marker), int(request.get("PageSize") or len(items))
    reply: dict[str, Any] = {name: list(items[start : start + size])}
    if start + size < len(items):
        reply["NextMarker"] = str(start + size)
    return reply
