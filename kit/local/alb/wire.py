"""Write the answers of the elbv2 API, and its errors."""

from collections.abc import Callable, Mapping
from typing import Any
from xml.sax.saxutils import escape

from ministack.services import alb

from kit.errors import UsageError
from kit.local.alb import configuration
from kit.local.alb.targets import Reason, State

# Id, port, zone, state and reason of a target.
TargetRow = tuple[str, int, str, State, Reason]


class UnsupportedListener(UsageError):
    """A listener that the local load balancer cannot serve."""


def load_balancer_xml(render: Callable[[Any], str], record: Mapping[str, Any]) -> str:
    """Write the zone of each subnet. MiniStack writes the first zone for every subnet."""
    text = render(record)
    for subnet_id, subnet in zip(record.get("Subnets", []), configuration.subnets(record), strict=True):
        zone = subnet.get("AvailabilityZone")
        if zone:
            old = f"<ZoneName>{alb.get_region()}a</ZoneName><SubnetId>{subnet_id}</SubnetId>"
            text = text.replace(old, f"<ZoneName>{zone}</ZoneName><SubnetId>{subnet_id}</SubnetId>")
    return text


def target_health(rows: list[TargetRow]) -> Any:
    """Answer DescribeTargetHealth."""
    members = "".join(_health_xml(*row) for row in rows)
    return alb._xml(200, "DescribeTargetHealth", f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>")


def group_not_found(arn: str) -> Any:
    """Answer a request for an unknown target group."""
    return alb._error("TargetGroupNotFound", f"Target group '{arn}' not found.")


def _health_xml(target_id: str, port: int, zone: str, state: State, reason: Reason) -> str:
    zone_xml = f"<AvailabilityZone>{zone}</AvailabilityZone>" if zone else ""
    why = ""
    if reason.code:
        why = f"<Reason>{reason.code}</Reason><Description>{escape(reason.text)}</Description>"
    return (
        f"<member><Target><Id>{escape(target_id)}</Id><Port>{port}</Port>{zone_xml}</Target>"
        f"<HealthCheckPort>{port}</HealthCheckPort>"
        f"<TargetHealth><State>{state}</State>{why}</TargetHealth></member>"
    )
