"""aws:network:disrupt-connectivity: deny a subnet's traffic, as AWS does by a network ACL in its place.

A network ACL works at the subnet's edge and is stateless: traffic inside the subnet goes on, established
connections are cut too, and denied packets vanish (a hang, not a refusal). So each target subnet gets link
rules that blackhole the legs between it and what the scope names.

AWS services are reached by public addresses, outside every VPC: `all` and `vpc` cut them, `availability-zone`
does not, `dynamodb`, `s3` and `s3express` cut exactly theirs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ministack.services import ec2

from kit.local.fis.actions.context import ActionContext
from kit.local.fis.errors import ConfigurationFailure
from kit.local.links import LinkRule, Match
from kit.local.places import AWS, CLIENT

if TYPE_CHECKING:
    from kit.local.cloud import Cloud
    from kit.local.fis.journal import Entry

UNDO_KIND = "network-disrupt-connectivity"
# Scopes that are one AWS service.
_SERVICES = ("dynamodb", "s3", "s3express")


@dataclass(frozen=True, slots=True, kw_only=True)
class DisruptConnectivity:
    """`prefix_list` matters for the scope `prefix-list` only."""

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
            entry = context.remember(UNDO_KIND, {"rule": name})
            for outside in denied:
                rule = LinkRule(name=name, src=inside, dst=outside, both_ways=True, blackhole=True)
                entry.handles.append(context.cloud.links.add(rule))

    def _denied(self, subnet: Mapping[str, Any]) -> list[Match]:
        """The other ends of the traffic that this subnet's network ACL denies."""
        if self.scope == "all":
            return [Match(not_subnets=(subnet["SubnetId"],))]
        if self.scope == "availability-zone":
            return [Match(vpcs=(subnet["VpcId"],), not_zones=(subnet["AvailabilityZone"],))]
        if self.scope == "vpc":
            others = [vpc for vpc in ec2._vpcs if vpc != subnet["VpcId"]]
            return [Match(kinds=(AWS, CLIENT)), *([Match(vpcs=others)] if others else [])]
        if self.scope in _SERVICES:
            return [Match(kinds=(AWS,), services=(self.scope,))]
        return [_of_prefix_list(self.prefix_list)]


def _of_prefix_list(prefix_list: str) -> Match:
    """An AWS-managed list is its service; a list of one's own is the subnets that it covers."""
    managed = ec2._resolve_aws_pl_by_id(prefix_list)
    if managed is not None:
        service = managed["PrefixListName"].rpartition(".")[2]
        if service in _SERVICES:
            return Match(kinds=(AWS,), services=(service,))
        raise ConfigurationFailure(f"prefix list {managed['PrefixListName']} has no traffic in the local AWS")
    own = ec2._prefix_lists.get(prefix_list)
    if own is None:
        raise ConfigurationFailure(f"prefix list {prefix_list} does not exist")
    networks = [ipaddress.ip_network(entry["Cidr"], strict=False) for entry in own.get("Entries") or ()]
    covered = [
        subnet["SubnetId"]
        for subnet in ec2._subnets.values()
        if any(network.overlaps(ipaddress.ip_network(subnet["CidrBlock"], strict=False)) for network in networks)
    ]
    if not covered:
        raise ConfigurationFailure(f"prefix list {prefix_list} covers no subnet of the local AWS")
    return Match(subnets=covered)


async def undo(cloud: Cloud, entry: Entry) -> None:
    """Give the subnet its own network ACL back. Rules die with the process, so a restart finds none."""
    for rule_id in entry.handles:
        cloud.links.remove(rule_id)
