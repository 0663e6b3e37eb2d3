"""Correct the CloudFormation resources of elbv2 that MiniStack provisions."""

import functools
from collections.abc import Callable
from typing import Any

from ministack.services import alb

from kit.local.alb import configuration
from kit.local.alb.operations import Targets
from kit.local.patching import Patches

_BALANCER_TYPE = "AWS::ElasticLoadBalancingV2::LoadBalancer"
_GROUP_TYPE = "AWS::ElasticLoadBalancingV2::TargetGroup"


def install(patches: Patches, targets: Targets) -> None:
    """Wrap MiniStack's handlers."""
    patches.wrap_resource_handler(_BALANCER_TYPE, "create", _create_balancer)
    patches.wrap_resource_handler(_GROUP_TYPE, "create", functools.partial(_create_group, targets))
    patches.wrap_resource_handler(_GROUP_TYPE, "update", _with_full_name)


def _create_balancer(create: Callable[..., Any], *args: Any) -> Any:
    arn, attributes = create(*args)
    # MiniStack collects the attributes before the store gives the load balancer its local address.
    return arn, {**attributes, "DNSName": alb._lbs[arn]["DNSName"]}


def _create_group(
    targets: Targets, create: Callable[..., Any], logical_id: str, props: dict[str, Any], *rest: Any
) -> Any:
    arn, attributes = _with_full_name(create, logical_id, props, *rest)
    for target in props.get("Targets") or []:
        targets.register_address(arn, str(target["Id"]), int(target.get("Port") or props.get("Port") or 80))
    return arn, attributes


def _with_full_name(provision: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Add the prefix `targetgroup/`, which MiniStack leaves out of TargetGroupFullName."""
    arn, attributes = provision(*args, **options)
    return arn, {**attributes, "TargetGroupFullName": configuration.full_group_name(arn)}
