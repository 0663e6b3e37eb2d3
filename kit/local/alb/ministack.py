"""Patch MiniStack's elbv2: observe its stores, and answer calls about targets from the data plane.

MiniStack's stores are the control plane. Each new load balancer gets a local address when its record is stored.
"""

import functools
import socket
from collections.abc import Callable
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, request_scope
from ministack.services import alb, cloudwatch

from kit.local.alb import cloudformation, operations
from kit.local.alb.balancer import BalancerSpec
from kit.local.alb.metrics import NAMESPACE, Datum
from kit.local.alb.upstream import HOST
from kit.local.patching import Patches, require

# The listener attribute that shows where on this machine a listener is served.
ADDRESS_ATTRIBUTE = "local.address"


class _ObservedStore(AccountRegionScopedDict):
    """A store of MiniStack that tells of its changes.

    It calls `prepare` before a record is written, `removed` after one is removed, and `changed` after every change.
    """

    __slots__ = ("_changed", "_prepare", "_removed")

    def __init__(
        self,
        data: dict[Any, Any],
        *,
        prepare: Callable[[Any, dict[str, Any]], None],
        removed: Callable[[Any], None],
        changed: Callable[[], None],
    ) -> None:
        self._data = data
        self._prepare = prepare
        self._removed = removed
        self._changed = changed

    def __setitem__(self, key: Any, value: Any) -> None:
        self._prepare(key, value)
        super().__setitem__(key, value)
        self._changed()

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        self._removed(key)
        self._changed()

    def pop(self, key: Any, *default: Any) -> Any:
        value = super().pop(key, *default)
        self._removed(key)
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
        require(alb, "_xml", "_error", "_short_id", "_now_iso", "_lb_attrs", "_tg_attrs", "_listener_attrs", "_tags")
        require(cloudwatch, "_store_datum")
        self._observe("_lbs", self._prepare_balancer)
        self._observe("_listeners", self._prepare_listener)
        self._observe("_rules")
        self._observe("_tgs")
        handlers = operations.Operations(self._targets).handlers
        for action, handler in handlers.items():
            self._patches.replace_entry(
                alb, "_ACTION_MAP", action, functools.partial(operations.answer, action, handler)
            )
        cloudformation.install(self._patches, handlers)

    def uninstall(self) -> None:
        """Undo every patch, and free the ports that no load balancer has taken."""
        self._patches.undo()
        for reserved in self._sockets.values():
            reserved.close()
        self._sockets.clear()

    def take_socket(self, arn: str) -> socket.socket | None:
        """Return the socket that is bound for a load balancer's DNSName or a listener. The caller closes it.

        Returns None for a record that was removed meanwhile.
        """
        return self._sockets.pop(arn, None)

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
            alb,
            store,
            lambda original: _ObservedStore(
                original._data, prepare=prepare, removed=self._release, changed=self._changed
            ),
        )

    def _release(self, arn: str) -> None:
        """Free the port of a record that was removed before the data plane took its socket."""
        reserved = self._sockets.pop(arn, None)
        if reserved is not None:
            reserved.close()

    def _prepare_balancer(self, arn: str, record: dict[str, Any]) -> None:
        if arn in alb._lbs:
            return
        record["DNSName"] = self._reserve(arn)

    def _prepare_listener(self, arn: str, record: dict[str, Any]) -> None:
        if arn not in alb._listeners:
            # AWS has no such attribute. Here all load balancers share one address, so each listener has another port.
            shown = {"Key": ADDRESS_ATTRIBUTE, "Value": self._reserve(arn)}
            alb._listener_attrs.setdefault(arn, []).append(shown)

    def _reserve(self, arn: str) -> str:
        """Bind a port, and return its address. It refuses connections until a listener is served, as on AWS."""
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        reserved.bind((HOST, 0))
        self._sockets[arn] = reserved
        return f"{HOST}:{reserved.getsockname()[1]}"
