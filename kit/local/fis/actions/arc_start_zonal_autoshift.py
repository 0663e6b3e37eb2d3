"""aws:arc:start-zonal-autoshift: shift load balancers away from a zone, as if AWS had found it impaired.

A recovery action: the zone's nodes leave DNS, and its targets get no request from any node (cross-zone load
balancing is on). A load balancer is ARC's when its attribute zonal_shift.config.enabled is true.

Unlike AWS: Application Load Balancers only; ARC itself is not served, so every load balancer that opted in counts
as ENABLED for autoshift, without a practice run; the shift acts at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from ministack.services import ec2

from kit.fis_rules.parameters import split_list
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.collaborators import Collaborators
from kit.local.fis.errors import ConfigurationFailure
from kit.local.fis.journal import Entry

UNDO_KIND = "arc-zonal-shift"
BALANCERS = "ALB"
ENABLED, ANY = "ENABLED", "ANY"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartZonalAutoshift:
    """`zone` is the name or the id of a zone."""

    zone: str
    types: tuple[str, ...] = (BALANCERS,)
    statuses: tuple[str, ...] = (ENABLED,)

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(
            zone=parameters["availabilityZoneIdentifier"],
            types=tuple(split_list(parameters.get("managedResourceTypes", BALANCERS))),
            statuses=tuple(split_list(parameters.get("zonalAutoshiftStatus", ENABLED))),
        )

    async def start(self, context: ActionContext) -> None:
        if BALANCERS not in self.types:
            raise ConfigurationFailure(f"managedResourceTypes {self.types}: only {BALANCERS} can be shifted here")
        if not {ENABLED, ANY} & set(self.statuses):
            raise ConfigurationFailure(f"zonalAutoshiftStatus {self.statuses}: every load balancer is {ENABLED} here")
        resources = context.targets["ManagedResources"]
        zones = [_zone_of(self.zone, each.described["Subnets"], each.arn) for each in resources]
        for resource, zone in zip(resources, zones, strict=True):
            context.remember(UNDO_KIND, {"balancer": resource.arn, "zone": zone}).handles.append(zone)
            context.services.alb.shift_away(resource.arn, zone)


async def undo(services: Collaborators, entry: Entry) -> None:
    """End the shift. Shifts end with the process, so there are none after a restart."""
    for zone in entry.handles:
        services.alb.end_shift(entry.data["balancer"], zone)


def _zone_of(wanted: str, subnet_ids: list[str], balancer: str) -> str:
    """Return the name of the zone. The load balancer must have subnets in it and in another one."""
    subnets = [ec2._subnets.get(subnet_id) or {} for subnet_id in subnet_ids]
    names = {subnet.get("AvailabilityZone", "") for subnet in subnets}
    for subnet in subnets:
        if wanted in (subnet.get("AvailabilityZone"), subnet.get("AvailabilityZoneId")):
            if len(names) == 1:
                raise ConfigurationFailure(f"load balancer {balancer} is in the zone {wanted} only")
            return subnet["AvailabilityZone"]
    raise ConfigurationFailure(f"load balancer {balancer} has no subnet in the zone {wanted!r}")
