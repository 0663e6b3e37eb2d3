"""Read the configuration of load balancers and target groups from MiniStack's records."""

from collections.abc import Mapping
from typing import Any

from ministack.services import alb, ec2

from kit.local.alb.balancer import BalancerSpec
from kit.local.alb.listener_rules import compile_rules
from kit.local.alb.listeners import ListenerSpec
from kit.local.alb.targets import GroupSpec
from kit.local.endpoints import ALB, Endpoint


def balancers() -> list[BalancerSpec]:
    """Return every load balancer of every account and Region."""
    listeners: dict[str, list[ListenerSpec]] = {}
    rules: dict[str, list[Mapping[str, Any]]] = {}
    for record in list(alb._rules._data.values()):
        rules.setdefault(record["ListenerArn"], []).append(record)
    for record in list(alb._listeners._data.values()):
        spec = _listener_spec(record, rules.get(record["ListenerArn"], []))
        listeners.setdefault(record["LoadBalancerArn"], []).append(spec)
    return [
        _balancer_spec(account_id, region, record, listeners.get(arn, []))
        for (account_id, region, arn), record in list(alb._lbs._data.items())
    ]


def _listener_spec(record: Mapping[str, Any], rules: list[Mapping[str, Any]]) -> ListenerSpec:
    in_order = sorted(rules, key=lambda rule: (rule["IsDefault"], 0 if rule["IsDefault"] else int(rule["Priority"])))
    return ListenerSpec(arn=record["ListenerArn"], port=record["Port"], rules=compile_rules(in_order))


def group(arn: str) -> GroupSpec | None:
    """Return the present configuration of a target group."""
    for (account_id, _, key), record in list(alb._tgs._data.items()):
        if key == arn:
            return _group_spec(account_id, record)
    return None


def subnets(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the records of a load balancer's subnets; an unknown subnet is empty."""
    return [ec2._subnets.get(subnet_id) or {} for subnet_id in record.get("Subnets", [])]


def full_group_name(arn: str) -> str:
    """Return the value of CloudWatch's TargetGroup dimension."""
    return f"targetgroup/{arn.partition(':targetgroup/')[2]}"


def _balancer_spec(
    account_id: str, region: str, record: Mapping[str, Any], listeners: list[ListenerSpec]
) -> BalancerSpec:
    arn, name = record["LoadBalancerArn"], record["LoadBalancerName"]
    attributes = _attributes(alb._lb_attrs, account_id, arn)
    return BalancerSpec(
        arn=arn,
        name=name,
        full_name=arn.partition(":loadbalancer/")[2],
        account_id=account_id,
        region=region,
        nodes=tuple(_node_endpoints(account_id, region, record)),
        listeners=tuple(sorted(listeners, key=lambda listener: listener.port)),
        idle_timeout_s=float(attributes.get("idle_timeout.timeout_seconds", 60)),
    )


def _node_endpoints(account_id: str, region: str, record: Mapping[str, Any]) -> list[Endpoint]:
    endpoints = []
    for subnet_id in record.get("Subnets") or [""]:
        subnet = ec2._subnets.get_scoped(account_id, region, subnet_id) or {}
        endpoints.append(
            Endpoint(
                kind=ALB,
                id=record["LoadBalancerName"],
                zone=subnet.get("AvailabilityZone") or f"{region}a",
                subnet=subnet_id,
                vpc=subnet.get("VpcId") or record.get("VpcId", ""),
            )
        )
    return endpoints


def _group_spec(account_id: str, record: Mapping[str, Any]) -> GroupSpec:
    arn = record["TargetGroupArn"]
    attributes = _attributes(alb._tg_attrs, account_id, arn)
    return GroupSpec(
        arn=arn,
        full_name=full_group_name(arn),
        check_enabled=bool(record.get("HealthCheckEnabled", True)),
        check_path=record.get("HealthCheckPath", "/"),
        check_port=str(record.get("HealthCheckPort", "traffic-port")),
        check_interval_s=float(record.get("HealthCheckIntervalSeconds", 30)),
        check_timeout_s=float(record.get("HealthCheckTimeoutSeconds", 5)),
        healthy_threshold=int(record.get("HealthyThresholdCount", 5)),
        unhealthy_threshold=int(record.get("UnhealthyThresholdCount", 2)),
        matcher=str((record.get("Matcher") or {}).get("HttpCode", "200")),
        deregistration_delay_s=float(attributes.get("deregistration_delay.timeout_seconds", 300)),
        fewest_outstanding=attributes.get("load_balancing.algorithm.type") == "least_outstanding_requests",
    )


def _attributes(store: Any, account_id: str, arn: str) -> dict[str, str]:
    return {a["Key"]: a["Value"] for a in store._data.get((account_id, arn), [])}
