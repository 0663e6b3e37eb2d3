"""aws:network:disrupt-vpc-endpoint: let calls from the endpoint's VPC to its service hang.

On AWS an empty security group takes the place of the endpoint's own: nothing enters or leaves its interfaces. The
endpoint's private DNS name takes the service's name over in the whole VPC, so every subnet of it is cut from the
service, whichever subnets the interfaces are in.

Unlike AWS: calls do not pass through the endpoint that one sees, the service is cut as if they did; private DNS is
taken as on. Gateway endpoints have no security group: the action fails for them, as on AWS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from kit.local.endpoints import AWS
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.link_rules import impose
from kit.local.fis.actions.service_hosts import signing_name
from kit.local.fis.errors import ConfigurationFailure
from kit.local.links import LinkRule, Match

UNDO_KIND = "network-disrupt-vpc-endpoint"
INTERFACE = "Interface"
# `com.amazonaws.us-east-1.sqs`: other prefixes belong to services of third parties.
SERVICE_PREFIX = "com.amazonaws."


@dataclass(frozen=True, slots=True, kw_only=True)
class DisruptVpcEndpoint:
    """The action has a duration only."""

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls()

    async def start(self, context: ActionContext) -> None:
        """Check all endpoints before cutting one, so that an invalid endpoint leaves no other one cut."""
        planned = [(each.described, _service(each.described)) for each in context.targets["VPCEndpoints"]]
        for endpoint, service in planned:
            name = f"{context.experiment_id}/{context.action_name}/{endpoint['VpcEndpointId']}"
            inside = Match(vpcs=(endpoint["VpcId"],))
            rule = LinkRule(name=name, src=inside, dst=service, both_ways=True, blackhole=True)
            impose(context, UNDO_KIND, {"rule": name}, [rule])


def _service(endpoint: Mapping[str, Any]) -> Match:
    where = f"endpoint {endpoint['VpcEndpointId']} ({endpoint['ServiceName']})"
    kind = endpoint["VpcEndpointType"]
    if kind != INTERFACE:
        raise ConfigurationFailure(f"{where} is a {kind} endpoint; the action takes interface endpoints")
    region, _, host = endpoint["ServiceName"].removeprefix(SERVICE_PREFIX).partition(".")
    service = signing_name(host) if endpoint["ServiceName"].startswith(SERVICE_PREFIX) else ""
    if not service:
        raise ConfigurationFailure(f"{where} leads to no service of the local AWS")
    return Match(kinds=(AWS,), services=(service,), regions=(region,))
