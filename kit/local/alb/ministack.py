"""The seam to MiniStack's elbv2: its stores are the control plane, ours is the data plane.

Owns every private name of MiniStack that load balancers need: reading the stores into specs, giving a new load
balancer its local address, and answering what only the data plane knows (target health). Must not know sockets
beyond reserving a port, nor how requests are carried.
"""

import functools
import socket
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from xml.sax.saxutils import escape

from ministack.core.responses import AccountRegionScopedDict, request_scope
from ministack.services import alb, cloudwatch, ec2
from ministack.services.cloudformation import provisioners

from kit.errors import UsageError
from kit.local.alb.balancer import BalancerSpec
from kit.local.alb.listener_rules import compile_rules
from kit.local.alb.metrics import NAMESPACE, Datum
from kit.local.alb.targets import NOT_REGISTERED, GroupSpec, Reason, State
from kit.local.endpoints import ALB, Endpoint

HOST = "127.0.0.1"
_BALANCER_TYPE = "AWS::ElasticLoadBalancingV2::LoadBalancer"
_GROUP_TYPE = "AWS::ElasticLoadBalancingV2::TargetGroup"


class UnsupportedListener(UsageError):
    """A listener that the local data plane cannot serve; refused, never pretended."""


class TargetsApi(Protocol):
    """What the control plane asks of the data plane."""

    def register_address(self, group_arn: str, target_id: str, port: int) -> None:
        """RegisterTargets; raises `UsageError` for an address that cannot be reached here."""
        ...

    def deregister_soon(self, group_arn: str, target_id: str, port: int) -> None:
        """DeregisterTargets: start draining."""
        ...

    def describe(self, group_arn: str) -> list[tuple[str, int, str, State, Reason]]:
        """Id, port, zone, state and reason of every target."""
        ...


class _ObservedStore(AccountRegionScopedDict):
    """A store of MiniStack that tells when a record comes or goes, whoever wrote it."""

    __slots__ = ("_changed", "_prepare")

    def __init__(
        self, data: dict[Any, Any], *, prepare: Callable[[Any, dict[str, Any]], None], changed: Callable[[], None]
    ) -> None:
        self._data = data
        self._prepare = prepare
        self._changed = changed

    def __setitem__(self, key: Any, value: Any) -> None:
        self._prepare(key, value)
        super().__setitem__(key, value)
        self._changed()

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        self._changed()

    def pop(self, key: Any, *default: Any) -> Any:
        value = super().pop(key, *default)
        self._changed()
        return value

    def clear(self) -> None:
        super().clear()
        self._changed()


class ControlPlane:
    """MiniStack's elbv2 stores, observed; `changed` may be called from any thread."""

    def __init__(self, targets: TargetsApi, changed: Callable[[], None]) -> None:
        self._targets = targets
        self._changed = changed
        self._sockets: dict[str, socket.socket] = {}
        self._undo: list[Callable[[], None]] = []

    def install(self) -> None:
        """Hook into MiniStack; `uninstall` takes everything back."""
        self._observe("_lbs", self._prepare_balancer)
        self._observe("_listeners", self._prepare_listener)
        self._observe("_rules", lambda *_: None)
        self._observe("_tgs", lambda *_: None)
        self._replace(alb.__dict__, "_lb_xml", functools.partial(_lb_xml_with_zones, alb._lb_xml))
        for action, answer in (
            ("RegisterTargets", self._register),
            ("DeregisterTargets", self._deregister),
            ("DescribeTargetHealth", self._describe_health),
            ("CreateListener", functools.partial(_refuse_unsupported, alb._create_listener)),
        ):
            self._replace(alb._ACTION_MAP, action, answer)
        self._wrap_provisioner(_BALANCER_TYPE, "create", self._provision_balancer)
        self._wrap_provisioner(_GROUP_TYPE, "create", self._provision_group)
        self._wrap_provisioner(_GROUP_TYPE, "update", _with_full_name)

    def uninstall(self) -> None:
        """Take every hook back and free ports that no load balancer took over."""
        while self._undo:
            self._undo.pop()()
        for reserved in self._sockets.values():
            reserved.close()
        self._sockets.clear()

    def take_socket(self, arn: str) -> socket.socket:
        """The bound socket whose address the load balancer's DNSName is; the caller owns it from now on."""
        return self._sockets.pop(arn)

    def balancers(self) -> list[BalancerSpec]:
        """Every load balancer of every account and region."""
        found = []
        for (account_id, region, arn), record in list(alb._lbs._data.items()):
            listeners = [ls for ls in list(alb._listeners._data.values()) if ls["LoadBalancerArn"] == arn]
            # One local port per load balancer: its lowest listener is the one that is served.
            listener = min(listeners, key=lambda ls: int(ls.get("Port", 80)), default=None)
            found.append(_balancer_spec(account_id, region, record, listener))
        return found

    def group(self, arn: str) -> GroupSpec | None:
        """One target group's configuration as it is now."""
        for (account_id, _, key), record in list(alb._tgs._data.items()):
            if key == arn:
                return _group_spec(account_id, record)
        return None

    def publish(self, spec: BalancerSpec, data: list[Datum], timestamp: float) -> None:
        """Store metric data in MiniStack's CloudWatch, in the load balancer's account and region."""
        with request_scope(spec.account_id, spec.region):
            for datum in data:
                cloudwatch._store_datum(
                    NAMESPACE, datum.name, dict(datum.dims), timestamp, datum.unit, None,
                    list(datum.values), list(datum.counts), None,
                )  # fmt: skip

    # Hooks

    def _observe(self, store: str, prepare: Callable[[Any, dict[str, Any]], None]) -> None:
        original = getattr(alb, store)
        self._replace(alb.__dict__, store, _ObservedStore(original._data, prepare=prepare, changed=self._changed))

    def _replace(self, where: dict[str, Any], name: str, value: Any) -> None:
        self._undo.append(functools.partial(where.__setitem__, name, where[name]))
        where[name] = value

    def _wrap_provisioner(self, resource_type: str, verb: str, wrap: Callable[..., Any]) -> None:
        handlers = provisioners._RESOURCE_HANDLERS[resource_type]
        self._replace(handlers, verb, functools.partial(wrap, handlers[verb]))

    def _prepare_balancer(self, arn: str, record: dict[str, Any]) -> None:
        if arn in alb._lbs:
            return
        # Bound but not listening until a listener is created: until then connections are refused, as on AWS.
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        reserved.bind((HOST, 0))
        self._sockets[arn] = reserved
        record["DNSName"] = f"{HOST}:{reserved.getsockname()[1]}"
        vpcs = [subnet["VpcId"] for subnet in _subnets(record) if subnet.get("VpcId")]
        if vpcs:
            record["VpcId"] = vpcs[0]

    def _prepare_listener(self, _arn: str, record: dict[str, Any]) -> None:
        if record.get("Protocol", "HTTP") != "HTTP":
            raise UnsupportedListener(
                f"listener protocol {record.get('Protocol')!r} on port {record.get('Port')}: "
                "the local load balancer serves HTTP only"
            )

    def _provision_balancer(self, create: Callable[..., Any], *args: Any) -> Any:
        arn, attributes = create(*args)
        record = alb._lbs[arn]
        # The provisioner made its attributes before the store gave the load balancer its local address.
        return arn, {**attributes, "DNSName": record["DNSName"]}

    def _provision_group(self, create: Callable[..., Any], logical_id: str, props: dict[str, Any], *rest: Any) -> Any:
        arn, attributes = _with_full_name(create, logical_id, props, *rest)
        for target in props.get("Targets") or []:
            self._targets.register_address(arn, str(target["Id"]), int(target.get("Port") or props.get("Port") or 80))
        return arn, attributes

    def _register(self, params: Mapping[str, Any]) -> Any:
        arn = alb._p(params, "TargetGroupArn")
        try:
            for target_id, port in self._named_targets(arn, params):
                self._targets.register_address(arn, target_id, port)
        except UsageError as error:
            return alb._error("ValidationError", str(error))
        except KeyError:
            return _group_missing(arn)
        return alb._empty("RegisterTargets")

    def _deregister(self, params: Mapping[str, Any]) -> Any:
        arn = alb._p(params, "TargetGroupArn")
        try:
            for target_id, port in self._named_targets(arn, params):
                self._targets.deregister_soon(arn, target_id, port)
        except KeyError:
            return _group_missing(arn)
        return alb._empty("DeregisterTargets")

    def _describe_health(self, params: Mapping[str, Any]) -> Any:
        arn = alb._p(params, "TargetGroupArn")
        try:
            wanted = self._named_targets(arn, params)
        except KeyError:
            return _group_missing(arn)
        rows = self._targets.describe(arn)
        if wanted:
            known = {(row[0], row[1]): row for row in rows}
            rows = [known.get((i, p), (i, p, "", State.UNUSED, NOT_REGISTERED)) for i, p in wanted]
        members = "".join(_health_xml(*row) for row in rows)
        return alb._xml(200, "DescribeTargetHealth", f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>")

    def _named_targets(self, arn: str, params: Mapping[str, Any]) -> list[tuple[str, int]]:
        """The targets in a request; raises KeyError for an unknown group."""
        port = int(alb._tgs[arn].get("Port", 80))
        return [(t["Id"], int(t.get("Port", port))) for t in alb._parse_targets_param(params)]


def _with_full_name(provision: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """MiniStack forgets the `targetgroup/` by which CloudWatch's TargetGroup dimension begins."""
    arn, attributes = provision(*args, **options)
    return arn, {**attributes, "TargetGroupFullName": _full_group_name(arn)}


def _full_group_name(arn: str) -> str:
    return f"targetgroup/{arn.partition(':targetgroup/')[2]}"


def _refuse_unsupported(create: Callable[[Any], Any], params: Mapping[str, Any]) -> Any:
    try:
        return create(params)
    except UnsupportedListener as error:
        return alb._error("UnsupportedProtocol", str(error))


def _group_missing(arn: str) -> Any:
    return alb._error("TargetGroupNotFound", f"Target group '{arn}' not found.")


def _subnets(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [ec2._subnets.get(subnet_id) or {} for subnet_id in record.get("Subnets", [])]


def _lb_xml_with_zones(render: Callable[[Any], str], record: Mapping[str, Any]) -> str:
    """MiniStack names the first zone for every subnet; name the subnet's own."""
    text = render(record)
    for subnet_id, subnet in zip(record.get("Subnets", []), _subnets(record), strict=True):
        zone = subnet.get("AvailabilityZone")
        if zone:
            old = f"<ZoneName>{alb.get_region()}a</ZoneName><SubnetId>{subnet_id}</SubnetId>"
            text = text.replace(old, f"<ZoneName>{zone}</ZoneName><SubnetId>{subnet_id}</SubnetId>")
    return text


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


def _balancer_spec(
    account_id: str, region: str, record: Mapping[str, Any], listener: Mapping[str, Any] | None
) -> BalancerSpec:
    arn, name = record["LoadBalancerArn"], record["LoadBalancerName"]
    attributes = _attributes(alb._lb_attrs, account_id, arn)
    rules = ()
    if listener is not None:
        own = [r for r in list(alb._rules._data.values()) if r.get("ListenerArn") == listener["ListenerArn"]]
        rules = compile_rules(own, listener.get("DefaultActions", []))
    return BalancerSpec(
        arn=arn,
        name=name,
        full_name=arn.partition(":loadbalancer/")[2],
        account_id=account_id,
        region=region,
        nodes=tuple(_node_endpoints(account_id, region, record)),
        listener_port=int(listener.get("Port", 80)) if listener else 80,
        rules=rules,
        idle_timeout_s=float(attributes.get("idle_timeout.timeout_seconds", 60)),
    )


def _node_endpoints(account_id: str, region: str, record: Mapping[str, Any]) -> list[Endpoint]:
    endpoints = []
    for subnet_id in record.get("Subnets") or [""]:
        subnet = ec2._subnets.get_scoped(account_id, region, subnet_id) or {}
        endpoints.append(
            Endpoint(
                kind=ALB,
                id=record["LoadBalancerName"],
                zone=subnet.get("AvailabilityZone") or f"{region}a",
                subnet=subnet_id,
                vpc=subnet.get("VpcId") or record.get("VpcId", ""),
            )
        )
    return endpoints


def _group_spec(account_id: str, record: Mapping[str, Any]) -> GroupSpec:
    arn = record["TargetGroupArn"]
    attributes = _attributes(alb._tg_attrs, account_id, arn)
    return GroupSpec(
        arn=arn,
        full_name=_full_group_name(arn),
        port=int(record.get("Port", 80)),
        target_type=record.get("TargetType", "instance"),
        check_enabled=bool(record.get("HealthCheckEnabled", True)),
        check_path=record.get("HealthCheckPath", "/"),
        check_port=str(record.get("HealthCheckPort", "traffic-port")),
        check_interval_s=float(record.get("HealthCheckIntervalSeconds", 30)),
        check_timeout_s=float(record.get("HealthCheckTimeoutSeconds", 5)),
        healthy_threshold=int(record.get("HealthyThresholdCount", 5)),
        unhealthy_threshold=int(record.get("UnhealthyThresholdCount", 2)),
        matcher=str((record.get("Matcher") or {}).get("HttpCode", "200")),
        deregistration_delay_s=float(attributes.get("deregistration_delay.timeout_seconds", 300)),
    )


def _attributes(store: Any, account_id: str, arn: str) -> dict[str, str]:
    return {a["Key"]: a["Value"] for a in store._data.get((account_id, arn), [])}
