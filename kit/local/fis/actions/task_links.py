"""Put link rules on ECS tasks, and read the `sources` parameter: shared by the task network actions.

On AWS these faults are `tc` and `iptables` in the task's own network namespace: they act on packets that leave
the task (or, for an ingress port, enter it), so every rule is one-way and an exchange pays it once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ministack.core.responses import get_region
from ministack.services import ec2

from kit.fis_rules.parameters import split_list
from kit.local.ecs.tasks import Task
from kit.local.endpoints import AWS, TASK
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.link_rules import impose
from kit.local.fis.actions.service_hosts import service_of_host
from kit.local.fis.errors import ConfigurationFailure, InvalidTarget
from kit.local.links import ANYWHERE, LinkRule, Match

UNDO_KIND = "ecs-task-links"
EVERYONE = "ALL"
FLOWS_PCT = 100
SERVICES: Mapping[str, str] = {"DYNAMODB": "dynamodb", "S3": "s3"}
_INTERNET = ipaddress.IPv4Network("0.0.0.0/0")


def tasks_of(context: ActionContext) -> list[Task]:
    """Return the target tasks. Raises InvalidTarget if one of them has ended."""
    found = []
    for resource in context.targets["Tasks"]:
        task = context.services.ecs.task(resource.arn)
        if task is None:
            raise InvalidTarget(f"task {resource.arn} has ended")
        found.append(task)
    return found


def match_of(task: Task) -> Match:
    """Match this task's end of its links."""
    return Match(kinds=(TASK,), ids=(task.id,))


def impair(context: ActionContext, fault: str, sources: str, **effect: Any) -> None:
    """Put `effect` (fields of a LinkRule) on everything that the target tasks send to `sources`."""
    add_rules(
        context,
        fault,
        lambda task, name: [
            LinkRule(name=name, src=match_of(task), dst=peer, both_ways=False, **effect)
            for peer in peers(sources, task.endpoint.vpc)
        ],
    )


def add_rules(context: ActionContext, fault: str, rules_of: Callable[[Task, str], Sequence[LinkRule]]) -> None:
    """Put every target task under the rules of `rules_of(task, name)`; if one task fails, no rule is added."""
    planned = []
    for task in tasks_of(context):
        _check_alone(context, task)
        name = f"{context.experiment_id}/{context.action_name}/{task.id}"
        planned.append((task, name, rules_of(task, name)))
    for task, name, rules in planned:
        impose(context, UNDO_KIND, {"rule": name, "task": task.arn, "fault": fault}, rules)


def _check_alone(context: ActionContext, task: Task) -> None:
    """Raise ConfigurationFailure, in the ECS agent's words, if another network action runs on the task.

    The user guide lists the task network actions under "cannot run in parallel".
    """
    for entry in context.journal.open_entries(UNDO_KIND):
        if entry.data["task"] == task.arn:
            experiment, action, _ = entry.data["rule"].split("/")
            raise ConfigurationFailure(
                f"task {task.id}: There is already one network {entry.data['fault']} fault running (action {action} of "
                f"{experiment}); AWS FIS runs no two network actions on a task in parallel"
            )


def peers(sources: str, vpc: str) -> list[Match]:
    """Return the other ends that `sources` means for a task of this VPC, without overlap.

    Links know subnets and AWS services, not addresses: an Availability Zone or a CIDR is its subnets, the host name
    of an AWS service is that service.
    """
    services: dict[str, set[str]] = {}
    subnets: set[str] = set()
    is_everyone = False
    for source in split_list(sources):
        if source == EVERYONE or source == str(_INTERNET):
            is_everyone = True
        elif source in SERVICES:
            services.setdefault(get_region(), set()).add(SERVICES[source])
        elif host := service_of_host(source):
            services.setdefault(host.region, set()).add(host.service)
        else:
            subnets |= _subnets_of(source, vpc)
    if is_everyone:
        return [ANYWHERE]
    return [*_of_services(services), *([Match(subnets=subnets)] if subnets else [])]


def _of_services(services: Mapping[str, set[str]]) -> list[Match]:
    """Return one match per Region; the Region "" means all Regions."""
    everywhere = services.get("", set())
    found = [Match(kinds=(AWS,), services=everywhere)] if everywhere else []
    for region, names in services.items():
        if region and names - everywhere:
            found.append(Match(kinds=(AWS,), services=names - everywhere, regions=(region,)))
    return found


def _subnets_of(source: str, vpc: str) -> set[str]:
    here = [subnet for subnet in ec2._subnets.values() if subnet["VpcId"] == vpc]
    zone = {
        subnet["SubnetId"]
        for subnet in here
        if source in (subnet["AvailabilityZone"], subnet.get("AvailabilityZoneId"))
    }
    if zone:
        return zone
    try:
        network = ipaddress.IPv4Network(source, strict=False)
    except ValueError:
        raise ConfigurationFailure(
            f"sources: {source!r} is unknown to the local AWS: it is neither ALL, DYNAMODB or S3, nor a zone with "
            f"subnets of {vpc or 'the VPC'}, nor an IPv4 network, nor the host name of an AWS service; other domain "
            "names are not resolved"
        ) from None
    covered = {s["SubnetId"] for s in here if ipaddress.IPv4Network(s["CidrBlock"], strict=False).subnet_of(network)}
    if not covered:
        raise ConfigurationFailure(f"sources: {source!r} covers no whole subnet of {vpc or 'the VPC'}")
    return covered
