"""aws:network:disrupt-connectivity: deny a subnet's traffic, as AWS does by a network ACL in its place.

A network ACL works at the subnet's edge and is stateless: traffic inside the subnet goes on, established
connections are cut too, and denied packets vanish (a hang, not a refusal). So each target subnet gets link
rules that blackhole the legs between it and what the scope names.

AWS services are reached by public addresses, outside every VPC: `all` and `vpc` cut them, `availability-zone`
does not, `dynamodb`, `s3` and `s3express` cut exactly theirs, of the region.

Unlike AWS: no network ACL is made that one could see; bytes are held back and let through when the cut ends; a
prefix list means the subnets that it overlaps.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ministack.core.responses import get_region
from ministack.services import ec2

from kit.local.endpoints import AWS, CLIENT
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.link_rules import impose
from kit.local.fis.errors import ConfigurationFailure
from kit.local.links import LinkRule, Match

UNDO_KIND = "network-disrupt-connectivity"
# Scopes that are one AWS service.
_SERVICES = ("dynamodb", "s3", "s3express")
PREFIX_LIST_ENTRIES_MAX = 10
_EVERYTHING = ipaddress.ip_network("0.0.0.0/0")


@dataclass(frozen=True, slots=True, kw_only=True)
class DisruptConnectivity:
    """`prefix_list` is used for the scope `prefix-list` only."""

    scope: str
    prefix_list: str = ""

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(scope=parameters["scope"], prefix_list=parameters.get("prefixListIdentifier", ""))

    async def start(self, context: ActionContext) -> None:
        for subnet in context.targets["Subnets"]:
            denied = self._denied(subnet.described)
            inside = Match(subnets=(subnet.described["SubnetId"],))
            name = f"{context.experiment_id}/{context.action_name}/{subnet.described['SubnetId']}"
            rules = [LinkRule(name=name, src=inside, dst=outside, both_ways=True, blackhole=True) for outside in denied]
            impose(context, UNDO_KIND, {"rule": name}, rules)

    def _denied(self, subnet: Mapping[str, Any]) -> list[Match]:
        """Return the other ends of the traffic that this subnet's network ACL denies."""
        if self.scope == "all":
            return [Match(not_subnets=(subnet["SubnetId"],))]
        if self.scope == "availability-zone":
            return [Match(vpcs=(subnet["VpcId"],), not_zones=(subnet["AvailabilityZone"],))]
        if self.scope == "vpc":
            others = [vpc for vpc in ec2._vpcs if vpc != subnet["VpcId"]]
            return [Match(kinds=(AWS, CLIENT)), *([Match(vpcs=others)] if others else [])]
        if self.scope in _SERVICES:
            return [Match(kinds=(AWS,), services=(self.scope,), regions=(get_region(),))]
        return [_of_prefix_list(self.prefix_list, subnet["SubnetId"])]


def _of_prefix_list(wanted: str, own_subnet: str) -> Match:
    """Return the other subnets that a prefix list covers; a network ACL does not act inside its own subnet."""
    entries = _prefix_list(wanted).get("Entries") or ()
    if len(entries) > PREFIX_LIST_ENTRIES_MAX:
        raise ConfigurationFailure(f"prefix list {wanted} has {len(entries)} entries > {PREFIX_LIST_ENTRIES_MAX}")
    networks = [ipaddress.ip_network(entry["Cidr"], strict=False) for entry in entries]
    if _EVERYTHING in networks:
        return Match(not_subnets=(own_subnet,))
    covered = [
        subnet["SubnetId"]
        for subnet in ec2._subnets.values()
        if subnet["SubnetId"] != own_subnet
        and any(network.overlaps(ipaddress.ip_network(subnet["CidrBlock"], strict=False)) for network in networks)
    ]
    if not covered:
        raise ConfigurationFailure(f"prefix list {wanted} covers no other subnet of the local AWS")
    return Match(subnets=covered)


def _prefix_list(wanted: str) -> Mapping[str, Any]:
    """Find a customer-managed prefix list by name, id or ARN."""
    for each in ec2._prefix_lists.values():
        if wanted in (each["PrefixListId"], each["PrefixListName"], each["PrefixListArn"]):
            return each
    if ec2._resolve_aws_pl_by_id(wanted.rpartition("/")[2]) or ec2._resolve_aws_pl(wanted):
        raise ConfigurationFailure(
            f"prefix list {wanted} is managed by AWS; FIS takes customer-managed ones, and has scopes for its services"
        )
    raise ConfigurationFailure(f"prefix list {wanted} does not exist")
