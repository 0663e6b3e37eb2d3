"""Rules about the load balancer and the network: requests reach healthy tasks in two zones, and only through it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kit.stack_rules.roles import (
    LISTENER,
    LOAD_BALANCER,
    NETWORK,
    SECURITY_GROUP,
    SERVICE,
    SUBNET,
    TARGET_GROUP,
    TASK_DEFINITION,
    target,
)
from kit.stack_rules.rule import Rule, between, equal, properties, reference, shown
from kit.stack_rules.template import EACH, MISSING, Template

ZONES_MIN = 2


def _zones(template: Template, subnets: list[Any]) -> set[str]:
    return {shown(template.properties(target(subnet)).get("AvailabilityZone", MISSING)) for subnet in subnets}


def _in_one_zone(template: Template) -> Iterator[tuple[str, str]]:
    """Find load balancers and services whose subnets are not in two zones."""
    placed = [(LOAD_BALANCER, ("Subnets",)), (SERVICE, (*NETWORK, "Subnets"))]
    for kind, path in placed:
        for name, values in template.of_type(kind).items():
            subnets = [subnet for item in template.at(values, path) if isinstance(item, list) for subnet in item]
            unknown = [subnet for subnet in subnets if template.resources.get(target(subnet), {}).get("Type") != SUBNET]
            if unknown:
                yield f"{name}.Subnets", f"has {shown(unknown[0])}, which is no subnet of this template"
            elif len(_zones(template, subnets)) < ZONES_MIN:
                yield f"{name}.Subnets", f"is in fewer than {ZONES_MIN} zones"


def _open_groups(template: Template) -> Iterator[tuple[str, str]]:
    """Find security groups of tasks that admit anything but the load balancer."""
    balancers = {
        target(group)
        for values in template.of_type(LOAD_BALANCER).values()
        for group in template.at(values, ("SecurityGroups", EACH))
    }
    for service, values in template.of_type(SERVICE).items():
        for group in template.at(values, (*NETWORK, "SecurityGroups", EACH)):
            if template.resources.get(target(group), {}).get("Type") != SECURITY_GROUP:
                yield f"{service}.SecurityGroups", f"has {shown(group)}, which is no security group of this template"
                continue
            for entry in template.at(template.properties(target(group)), ("SecurityGroupIngress", EACH)):
                source = entry.get("SourceSecurityGroupId") if isinstance(entry, dict) else None
                if target(source) not in balancers or {"CidrIp", "CidrIpv6"} & set(entry):
                    yield f"{target(group)}.SecurityGroupIngress", f"admits {shown(entry)}"


def _closed_ports(template: Template) -> Iterator[tuple[str, str]]:
    """Find ports of target groups that the tasks do not serve."""
    served = {
        str(port)
        for values in template.of_type(TASK_DEFINITION).values()
        for port in template.at(values, ("ContainerDefinitions", EACH, "PortMappings", EACH, "ContainerPort"))
    }
    for name, values in template.of_type(TARGET_GROUP).items():
        if str(values.get("Port")) not in served:
            yield f"{name}.Port", f"is {shown(values.get('Port', MISSING))}, which no container maps"


def _group_attribute(name: str) -> tuple[str, ...]:
    return ("TargetGroupAttributes", name)


RULES: tuple[Rule, ...] = (
    properties(TARGET_GROUP, "HealthCheckPath", equal("/readyz"),
        "a task that cannot reach its store must get no requests; any other path only says that the process answers",
        default="/"),
    properties(TARGET_GROUP, "HealthCheckEnabled", equal(True), "a lost task would keep its share of the requests",
        default=True),
    properties(TARGET_GROUP, "HealthCheckPort", equal("traffic-port"),
        "the check must ask what serves the requests", default="traffic-port"),
    properties(TARGET_GROUP, "HealthCheckProtocol", equal("HTTP"), "only HTTP has an answer to check", default="HTTP"),
    properties(TARGET_GROUP, "HealthCheckIntervalSeconds", between(5, 10),
        "a lost zone receives its share of the requests until its checks fail", default=30),
    properties(TARGET_GROUP, "HealthCheckTimeoutSeconds", between(2, 5),
        "a shorter one fails under load, a longer one notices a lost zone late", default=5),
    properties(TARGET_GROUP, "HealthyThresholdCount", between(2, 3),
        "tasks must come back within seconds after a fault", default=5),
    properties(TARGET_GROUP, "UnhealthyThresholdCount", between(2, 3),
        "a lost zone receives its share of the requests until its checks fail", default=2),
    properties(TARGET_GROUP, "Matcher.HttpCode", equal("200"),
        "an answer that is not 200 says that the task is not ready", default="200"),
    properties(TARGET_GROUP, _group_attribute("deregistration_delay.timeout_seconds"), between(5, 20),
        "a shorter delay cuts requests off, a longer one holds up every deployment", default=300),
    properties(TARGET_GROUP, _group_attribute("stickiness.enabled"), equal("false"),
        "the clients of a lost task would stay with it", default="false"),
    properties(TARGET_GROUP, _group_attribute("load_balancing.cross_zone.enabled"),
        equal("true", "use_load_balancer_configuration"), "the node of a lost zone must reach the other zone's tasks",
        default="use_load_balancer_configuration"),
    properties(TARGET_GROUP, _group_attribute("slow_start.duration_seconds"), between(0, 30),
        "tasks must take their share within seconds after a fault", default="0"),
    properties(LOAD_BALANCER, ("LoadBalancerAttributes", "idle_timeout.timeout_seconds"), between(60, 70),
        "a shorter one closes quiet streams between two heartbeats, a longer one outlasts the tasks' keep-alive, so "
        "that requests meet connections that close", default="60"),
    properties(LOAD_BALANCER, ("LoadBalancerAttributes", "routing.http.desync_mitigation_mode"),
        equal("defensive", "strictest"), "monitor mode forwards requests that two parsers read differently",
        default="defensive"),
    properties(LOAD_BALANCER, "Type", equal("application"), "streams and rules need an Application Load Balancer",
        default="application"),
    properties(LISTENER, ("DefaultActions", EACH, "Type"), equal("forward"), "clients would get no exchange"),
    properties(SECURITY_GROUP, ("SecurityGroupIngress", EACH, "CidrIp"), reference("ClientCidr"),
        "who may connect is a parameter, so that a shared account can restrict it", unresolved=True,
        where=lambda template, name: any(
            target(group) == name
            for values in template.of_type(LOAD_BALANCER).values()
            for group in template.at(values, ("SecurityGroups", EACH))
        )),
    Rule(name="two-zones", why="the loss of one zone would be the loss of all", find=_in_one_zone),
    Rule(name="task-ingress", why="tasks take requests from the load balancer only", find=_open_groups),
    Rule(name="target-port", why="no request would reach a task", find=_closed_ports),
)  # fmt: skip
