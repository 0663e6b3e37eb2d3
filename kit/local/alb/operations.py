"""Answer the elbv2 operations that need the data plane: targets and their health."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ministack.services import alb

from kit.errors import UsageError
from kit.local.alb import wire
from kit.local.alb.targets import NOT_REGISTERED, State

Params = Mapping[str, Any]


class Targets(Protocol):
    """The functions of the data plane that the operations call."""

    def register_address(self, group_arn: str, target_id: str, port: int) -> None:
        """Register a target. Raises UsageError for an address that cannot be reached here."""
        ...

    def deregister_soon(self, group_arn: str, target_id: str, port: int) -> None:
        """Start to drain a target and return."""
        ...

    def describe(self, group_arn: str) -> list[wire.TargetRow]:
        """Return every target of a group."""
        ...


class Operations:
    """The operations on the targets of a group."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets

    def register_targets(self, params: Params) -> Any:
        """Answer RegisterTargets."""
        arn = alb._p(params, "TargetGroupArn")
        try:
            for target_id, port in _requested_targets(arn, params):
                self._targets.register_address(arn, target_id, port)
        except UsageError as error:
            return alb._error("ValidationError", str(error))
        except KeyError:
            return wire.group_not_found(arn)
        return alb._empty("RegisterTargets")

    def deregister_targets(self, params: Params) -> Any:
        """Answer DeregisterTargets."""
        arn = alb._p(params, "TargetGroupArn")
        try:
            for target_id, port in _requested_targets(arn, params):
                self._targets.deregister_soon(arn, target_id, port)
        except KeyError:
            return wire.group_not_found(arn)
        return alb._empty("DeregisterTargets")

    def describe_target_health(self, params: Params) -> Any:
        """Answer DescribeTargetHealth."""
        arn = alb._p(params, "TargetGroupArn")
        try:
            requested = _requested_targets(arn, params)
        except KeyError:
            return wire.group_not_found(arn)
        rows = self._targets.describe(arn)
        if requested:
            known = {(row[0], row[1]): row for row in rows}
            rows = [known.get((i, p), (i, p, "", State.UNUSED, NOT_REGISTERED)) for i, p in requested]
        return wire.target_health(rows)


def create_listener(create: Callable[[Any], Any], params: Params) -> Any:
    """Answer CreateListener, and refuse listeners that the data plane cannot serve."""
    try:
        return create(params)
    except wire.UnsupportedListener as error:
        return alb._error("UnsupportedProtocol", str(error))


def _requested_targets(arn: str, params: Params) -> list[tuple[str, int]]:
    """Return id and port of the targets in a request. Raises KeyError for an unknown group."""
    port = int(alb._tgs[arn].get("Port", 80))
    return [(t["Id"], int(t.get("Port", port))) for t in alb._parse_targets_param(params)]
