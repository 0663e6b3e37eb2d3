"""aws:network:route-table-disrupt-cross-region-connectivity: drop what the subnets send to another Region.

A call's Region is the one that it was signed for. Its requests hang; answers would come from the Region, where
nothing is cut.

Unlike AWS: no route table is made that one could see; only calls to AWS services leave the Region here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from ministack.core.responses import get_region

from kit.local.endpoints import AWS
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.link_rules import impose
from kit.local.fis.actions.service_hosts import is_region
from kit.local.fis.errors import ConfigurationFailure
from kit.local.links import LinkRule, Match

UNDO_KIND = "network-disrupt-cross-region"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTableDisruptCrossRegionConnectivity:
    """`region` is the Region to isolate."""

    region: str

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(region=parameters["region"])

    async def start(self, context: ActionContext) -> None:
        if not is_region(self.region) or self.region == get_region():
            raise ConfigurationFailure(f"region {self.region!r} must be another Region of AWS than {get_region()}")
        outside = Match(kinds=(AWS,), regions=(self.region,))
        for subnet in context.targets["Subnets"]:
            subnet_id = subnet.described["SubnetId"]
            name = f"{context.experiment_id}/{context.action_name}/{subnet_id}"
            inside = Match(subnets=(subnet_id,))
            rule = LinkRule(name=name, src=inside, dst=outside, both_ways=False, blackhole=True)
            impose(context, UNDO_KIND, {"rule": name}, [rule])
