"""Patch MiniStack's elbv2: observe its stores, and answer calls about targets from the data plane.

MiniStack's stores are the control plane. Each new load balancer gets a local address when its record is stored.
"""

import functools
import socket
from collections.abc import Callable
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, request_scope
from ministack.services import alb, cloudwatch

from kit.local.alb import cloudformation, configuration, operations, wire
from kit.local.alb.balancer import BalancerSpec
from kit.local.alb.metrics import NAMESPACE, Datum
from kit.local.alb.upstream import HOST
from kit.local.patching import Patches, require


class _ObservedStore(AccountRegionScopedDict):
    """A store of MiniStack that calls `prepare` before a record is written and `changed` after every change."""

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
    """MiniStack's elbv2, observed. `changed` may be called from any thread."""

    def __init__(self, targets: operations.Targets, changed: Callable[[], None]) -> None:
        self._targets = targets
        self._changed = changed
        self._sockets: dict[str, socket.socket] = {}
        self._patches = Patches()

    def install(self) -> None:
        """Patch MiniStack; `uninstall` undoes it."""
        require(alb, "_p", "_xml", "_error", "_empty", "_parse_targets_param", "_lb_attrs", "_tg_attrs")
        require(cloudwatch, "_store_datum")
        self._observe("_lbs", self._prepare_balancer)
        self._observe("_listeners", _refuse_unsupported_listener)
        self._observe("_rules")
        self._observe("_tgs")
        self._patches.wrap(alb, "_lb_xml", wire.load_balancer_xml)
        answers = operations.Operations(self._targets)
        for action, answer in (
            ("RegisterTargets", answers.register_targets),
            ("DeregisterTargets", answers.deregister_targets),
            ("DescribeTargetHealth", answers.describe_target_health),
            ("CreateListener", functools.partial(operations.create_listener, alb._create_listener)),
        ):
            self._patches.replace_entry(alb, "_ACTION_MAP", action, answer)
        cloudformation.install(self._patches, self._targets)

    def uninstall(self) -> None:
        """Undo every patch, and free the ports that no load balancer has taken."""
        self._patches.undo()
        for reserved in self._sockets.values():
            reserved.close()
        self._sockets.clear()

    def take_socket(self, arn: str) -> socket.socket:
        """Return the socket that is bound to the load balancer's DNSName. The caller closes it."""
        return self._sockets.pop(arn)

    def publish(self, spec: BalancerSpec, data: list[Datum], timestamp: float) -> None:
        """Store metric data in MiniStack's CloudWatch, in the load balancer's account and Region."""
        with request_scope(spec.account_id, spec.region):
            for datum in data:
                cloudwatch._store_datum(
                    NAMESPACE, datum.name, dict(datum.dims), timestamp, datum.unit, None,
                    list(datum.values), list(datum.counts), None,
                )  # fmt: skip

    def _observe(self, store: str, prepare: Callable[[Any, dict[str, Any]], None] = lambda *_: None) -> None:
        self._patches.decorate(
            alb, store, lambda original: _ObservedStore(original._data, prepare=prepare, changed=self._changed)
        )

    def _prepare_balancer(self, arn: str, record: dict[str, Any]) -> None:
        if arn in alb._lbs:
            return
        # Bound but not listening: connections are refused until a listener is created, as on AWS.
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        reserved.bind((HOST, 0))
        self._sockets[arn] = reserved
        record["DNSName"] = f"{HOST}:{reserved.getsockname()[1]}"
        vpcs = [subnet["VpcId"] for subnet in configuration.subnets(record) if subnet.get("VpcId")]
        if vpcs:
            record["VpcId"] = vpcs[0]


def _refuse_unsupported_listener(_arn: str, record: dict[str, Any]) -> None:
    if record.get("Protocol", "HTTP") != "HTTP":
        raise wire.UnsupportedListener(
            f"listener protocol {record.get('Protocol')!r} on port {record.get('Port')}: "
            "the local load balancer serves HTTP only"
        )
