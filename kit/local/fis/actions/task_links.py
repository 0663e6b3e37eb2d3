"""Link rules at one ECS task, and whom a `sources` parameter means: what the task network actions share.

Owns the journal entries of those rules and their undo. Knows no action's parameters.

On AWS these faults are `tc` and `iptables` in the task's own network namespace: they act on packets that leave
the task (or, for an ingress port, enter it), so every rule is one-way and an exchange pays it once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ministack.services import ec2

from kit.local.fis.actions.context import ActionContext
from kit.local.fis.errors import ConfigurationFailure, InvalidTarget
from kit.local.fis.parameters import split_list
from kit.local.links import ANYWHERE, LinkRule, Match
from kit.local.places import AWS, TASK

if TYPE_CHECKING:
    from kit.local.cloud import Cloud
    from kit.local.ecs.tasks import Task
    from kit.local.fis.journal import Entry

UNDO_KIND = "ecs-task-links"
EVERYONE = "ALL"
SERVICES: Mapping[str, str] = {"DYNAMODB": "dynamodb", "S3": "s3"}
_INTERNET = ipaddress.IPv4Network("0.0.0.0/0")


def tasks_of(context: ActionContext) -> list[Task]:
    """The target tasks, as the scheduler holds them."""
    found = []
    for resource in context.targets["Tasks"]:
        task = context.cloud.ecs.task(resource.arn)
        if task is None:
            raise InvalidTarget(f"task {resource.arn} is gone")
        found.append(task)
    return found


def place_of(task: Task) -> Match:
    """This task's end of its hops."""
    return Match(kinds=(TASK,), ids=(task.id,))


def add_rules(context: ActionContext, rules_of: Callable[[Task, str], Sequence[LinkRule]]) -> None:
    """Put every target task under the rules that `rules_of(task, name)` makes: all of them, or none if one fails."""
    planned = []
    for task in tasks_of(context):
        name = f"{context.experiment_id}/{context.action_name}/{task.id}"
        planned.append((task, name, rules_of(task, name)))
    for task, name, rules in planned:
        entry = context.remember(UNDO_KIND, {"rule": name, "task": task.arn})
        for rule in rules:
            entry.handles.append(context.cloud.links.add(rule))


async def undo(cloud: Cloud, entry: Entry) -> None:
    """Rules die with the process, so a restart finds none."""
    for rule_id in entry.handles:
        cloud.links.remove(rule_id)


def peers(sources: str, vpc: str) -> list[Match]:
    """The other ends that `sources` means for a task of this VPC; no place is in two of them.

    Links know subnets and AWS services, not addresses: an Availability Zone or a CIDR is its subnets.
    """
    services: set[str] = set()
    subnets: set[str] = set()
    is_everyone = False
    for source in split_list(sources):
        if source == EVERYONE or source == str(_INTERNET):
            is_everyone = True
        elif source in SERVICES:
            services.add(SERVICES[source])
        else:
            subnets |= _subnets_of(source, vpc)
    if is_everyone:
        return [ANYWHERE]
    return [
        *([Match(kinds=(AWS,), services=services)] if services else []),
        *([Match(subnets=subnets)] if subnets else []),
    ]


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
            f"sources: {source!r} means nothing in the local AWS: it is neither ALL, DYNAMODB or S3, nor a zone with "
            f"subnets of {vpc or 'the VPC'}, nor an IPv4 network; domain names are not resolved"
        ) from None
    covered = {s["SubnetId"] for s in here if ipaddress.IPv4Network(s["CidrBlock"], strict=False).subnet_of(network)}
    if not covered:
        raise ConfigurationFailure(f"sources: {source!r} covers no whole subnet of {vpc or 'the VPC'}")
    return covered
