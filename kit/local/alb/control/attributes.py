"""Hold the attributes of load balancers, target groups and listeners, with their defaults and what is served of them.

A value that AWS would accept, but that the data plane does not carry out, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.local.alb.wire import RequestRefused

Attributes = list[dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute. AWS accepts what `pattern` matches, within `between`; `served` are the values that act here."""

    default: str
    pattern: str = "true|false"
    between: tuple[int, int] | None = None
    served: tuple[str, ...] | None = None

    def accepts(self, value: str) -> bool:
        """Return whether AWS accepts the value."""
        if not re.fullmatch(self.pattern, value):
            return False
        return self.between is None or not value.isdecimal() or self.between[0] <= int(value) <= self.between[1]

    def serves(self, value: str) -> bool:
        """Return whether the data plane does what the value asks."""
        return self.served is None or value in (*self.served, self.default)


_OFF = Attribute(default="false", served=())
_TEXT = Attribute(default="", pattern=r".{0,1024}")
_TEXT_NOT_SERVED = Attribute(default="", pattern=r".{0,1024}", served=())

BALANCER: Mapping[str, Attribute] = {
    "deletion_protection.enabled": Attribute(default="false"),
    "idle_timeout.timeout_seconds": Attribute(default="60", pattern=r"\d+", between=(1, 4000)),
    "load_balancing.cross_zone.enabled": Attribute(default="true", served=()),
    "zonal_shift.config.enabled": Attribute(default="false"),
    # Only clients with TLS can ask for HTTP/2, and no listener here has TLS.
    "routing.http2.enabled": Attribute(default="true"),
    "routing.http.preserve_host_header.enabled": _OFF,
    "routing.http.drop_invalid_header_fields.enabled": _OFF,
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled": _OFF,
    "routing.http.xff_client_port.enabled": _OFF,
    "routing.http.xff_header_processing.mode": Attribute(default="append", pattern="append|preserve|remove", served=()),
    "routing.http.desync_mitigation_mode": Attribute(
        default="defensive", pattern="monitor|defensive|strictest", served=()
    ),
    "client_keep_alive.seconds": Attribute(default="3600", pattern=r"\d+", between=(60, 604800), served=()),
    "waf.fail_open.enabled": _OFF,
    "ipv6.deny_all_igw_traffic": _OFF,
    **{
        f"{kind}.s3.{name}": attribute
        for kind in ("access_logs", "connection_logs", "health_check_logs")
        for name, attribute in (("enabled", _OFF), ("bucket", _TEXT), ("prefix", _TEXT))
    },
}
_HEALTHY_TARGETS = "minimum_healthy_targets"
GROUP: Mapping[str, Attribute] = {
    "deregistration_delay.timeout_seconds": Attribute(default="300", pattern=r"\d+", between=(0, 3600)),
    "stickiness.enabled": _OFF,
    "stickiness.type": Attribute(default="lb_cookie", pattern="lb_cookie|app_cookie"),
    "stickiness.lb_cookie.duration_seconds": Attribute(default="86400", pattern=r"\d+", between=(1, 604800)),
    "stickiness.app_cookie.duration_seconds": Attribute(default="86400", pattern=r"\d+", between=(1, 604800)),
    "stickiness.app_cookie.cookie_name": _TEXT,
    "slow_start.duration_seconds": Attribute(default="0", pattern=r"0|[3-9]\d|\d{3}", between=(0, 900), served=()),
    "load_balancing.algorithm.type": Attribute(
        default="round_robin",
        pattern="round_robin|least_outstanding_requests|weighted_random",
        served=("least_outstanding_requests",),
    ),
    "load_balancing.algorithm.anomaly_mitigation": Attribute(default="off", pattern="on|off", served=()),
    "load_balancing.cross_zone.enabled": Attribute(
        default="use_load_balancer_configuration",
        pattern="true|false|use_load_balancer_configuration",
        served=("true",),
    ),
    **{
        f"target_group_health.{what}.{_HEALTHY_TARGETS}.{unit}": Attribute(
            default=default, pattern=r"off|\d+", between=(1, most), served=()
        )
        for what in ("dns_failover", "unhealthy_state_routing")
        for unit, default, most in (("count", "1", 1000), ("percentage", "off", 100))
    },
}
_RESPONSE_HEADERS = (
    "strict_transport_security", "access_control_allow_origin", "access_control_allow_methods",
    "access_control_allow_headers", "access_control_allow_credentials", "access_control_expose_headers",
    "access_control_max_age", "content_security_policy", "x_content_type_options", "x_frame_options",
)  # fmt: skip
LISTENER: Mapping[str, Attribute] = {
    "routing.http.response.server.enabled": Attribute(default="true", served=()),
    **{f"routing.http.response.{name}.header_value": _TEXT_NOT_SERVED for name in _RESPONSE_HEADERS},
}


def defaults(kind: Mapping[str, Attribute]) -> Attributes:
    """Return the attributes of a new resource."""
    return [{"Key": key, "Value": attribute.default} for key, attribute in kind.items()]


def changed(
    kind: Mapping[str, Attribute], present: Attributes, given: Sequence[Mapping[str, Any]], *, what: str
) -> Attributes:
    """Return the attributes after a change. Raises RequestRefused for an unknown key or a value that is not served."""
    merged = {attribute["Key"]: attribute["Value"] for attribute in present}
    for entry in given:
        key, value = str(entry.get("Key", "")), str(entry.get("Value", ""))
        value = value.lower() if value.lower() in ("true", "false") else value
        _check(kind, key, value, what)
        merged[key] = value
    return [{"Key": key, "Value": value} for key, value in merged.items()]


def _check(kind: Mapping[str, Attribute], key: str, value: str, what: str) -> None:
    attribute = kind.get(key)
    if attribute is None:
        raise RequestRefused("ValidationError", f"{what} attribute key '{key}' is not recognized")
    if key == "stickiness.type" and value in ("source_ip", "source_ip_dest_ip", "source_ip_dest_ip_proto"):
        raise RequestRefused(
            "ValidationError", f"Stickiness type '{value}' is not supported for target groups with the HTTP protocol"
        )
    if not attribute.accepts(value):
        limits = attribute.between
        expected = f"between '{limits[0]}' and '{limits[1]}'" if limits else f"one of '{attribute.pattern}'"
        raise RequestRefused("ValidationError", f"{what} attribute '{key}' must be {expected}, but is '{value}'")
    if not attribute.serves(value):
        raise RequestRefused.not_served(
            f"{what} attribute {key} = '{value}'", "change how the load balancer works accordingly"
        )
