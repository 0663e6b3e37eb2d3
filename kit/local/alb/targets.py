"""Keep the registered targets of each group, their health as each node sees it, and the round robin order."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from kit.local.endpoints import Endpoint


class State(StrEnum):
    """The target states of DescribeTargetHealth."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    UNUSED = "unused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """An AWS reason code and its text. Both are empty for a healthy target."""

    code: str = ""
    text: str = ""


REGISTERING = Reason(code="Elb.RegistrationInProgress", text="Target registration is in progress")
FIRST_CHECKS = Reason(code="Elb.InitialHealthChecking", text="Initial health checks in progress")
DRAINING = Reason(code="Target.DeregistrationInProgress", text="Target deregistration is in progress")
TIMED_OUT = Reason(code="Target.Timeout", text="Request timed out")
CHECK_FAILED = Reason(code="Target.FailedHealthChecks", text="Health checks failed")
NOT_IN_USE = Reason(
    code="Target.NotInUse", text="Target group is not configured to receive traffic from the load balancer"
)
NOT_REGISTERED = Reason(code="Target.NotRegistered", text="Target is not registered to the target group")
NO_REASON = Reason()


def wrong_code(status: int) -> Reason:
    """Return the reason for an answer whose status is outside the matcher."""
    return Reason(code="Target.ResponseCodeMismatch", text=f"Health checks failed with these codes: [{status}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSpec:
    """A target group's configuration, read from the control plane."""

    arn: str
    full_name: str
    check_enabled: bool = True
    check_path: str = "/"
    check_port: str = "traffic-port"
    check_interval_s: float = 30.0
    check_timeout_s: float = 5.0
    healthy_threshold: int = 5
    unhealthy_threshold: int = 2
    matcher: str = "200"
    deregistration_delay_s: float = 300.0
    fewest_outstanding: bool = False  # choose the target with the fewest requests in flight

    def accepts(self, status: int) -> bool:
        """Return whether the matcher (`200`, `200,202`, `200-299`) accepts a status."""
        for part in self.matcher.split(","):
            low, _, high = part.strip().partition("-")
            if low.isdigit() and int(low) <= status <= int(high or low):
                return True
        return False


@dataclass(slots=True)
class NodeView:
    """The health of a target as one load balancer node sees it."""

    state: State = State.INITIAL
    reason: Reason = FIRST_CHECKS
    passed: int = 0
    failed: int = 0

    def restart(self) -> None:
        """Reset after the target was registered again. In place, because a running check keeps its view."""
        self.state, self.reason = State.INITIAL, FIRST_CHECKS
        self.passed = self.failed = 0

    def record(self, failure: Reason | None, spec: GroupSpec) -> None:
        """Count one check. A new target needs one success; later changes need the group's thresholds."""
        if failure is None:
            self.failed = 0
            self.passed += 1
            if self.state is State.INITIAL or self.passed >= spec.healthy_threshold:
                self.state, self.reason = State.HEALTHY, NO_REASON
            return
        self.passed = 0
        self.failed += 1
        if self.state is State.UNHEALTHY or self.failed >= spec.unhealthy_threshold:
            self.state, self.reason = State.UNHEALTHY, failure


class InFlight(Protocol):
    """A request that was forwarded to a target and is not finished."""

    def end_drain(self) -> None:
        """End the request because the target's deregistration delay is over."""
        ...


@dataclass(slots=True, eq=False)
class Target:
    """One registered target. Its process listens on `host_port` of this machine."""

    id: str
    port: int
    host_port: int
    endpoint: Endpoint
    draining: bool = False
    views: dict[str, NodeView] = field(default_factory=dict)
    in_flight: set[InFlight] = field(default_factory=set)

    @property
    def zone(self) -> str:
        return self.endpoint.zone

    def state(self, nodes: Iterable[str]) -> tuple[State, Reason]:
        """Return the state over the given nodes: healthy when any of them can use the target."""
        if self.draining:
            return State.DRAINING, DRAINING
        views = [self.views[node] for node in nodes if node in self.views]
        for wanted in (State.HEALTHY, State.INITIAL, State.UNHEALTHY):
            for view in views:
                if view.state is wanted:
                    return wanted, view.reason
        return State.INITIAL, REGISTERING


class TargetGroup:
    """The registered targets of one group, and the round robin position of each node."""

    def __init__(self, spec: GroupSpec) -> None:
        self.spec = spec
        self.targets: dict[tuple[str, int], Target] = {}
        # Names (subnet ids) of the load balancer's nodes that forward to this group. Empty when it is not in use.
        self.nodes: tuple[str, ...] = ()
        self._turns: dict[str, int] = {}

    def pick(self, node: str, away_from: Collection[str] = ()) -> Target | None:
        """Choose one of the targets that are healthy for this node, or of all when none is (fail open).

        By round robin, unless the group asks for the target with the fewest requests in flight.
        Targets in zones that traffic was shifted away from are left out, unless all targets are in such zones.
        """
        usable = [t for t in self.targets.values() if not t.draining]
        if away_from:
            usable = [t for t in usable if t.zone not in away_from] or usable
        if not usable:
            return None
        pool = usable
        if self.spec.check_enabled:
            pool = [t for t in usable if (view := t.views.get(node)) and view.state is State.HEALTHY] or usable
        if self.spec.fewest_outstanding:
            fewest = min(len(target.in_flight) for target in pool)
            pool = [target for target in pool if len(target.in_flight) == fewest]
        # Nodes start at different positions. Otherwise all would send their first request to the same target.
        turn = self._turns.get(node)
        if turn is None:
            turn = self.nodes.index(node) if node in self.nodes else 0
        self._turns[node] = turn + 1
        return pool[turn % len(pool)]

    def state_of(self, target: Target) -> tuple[State, Reason]:
        """Return a target's state and reason as DescribeTargetHealth reports them."""
        if not self.nodes:
            return State.UNUSED, NOT_IN_USE
        if not self.spec.check_enabled and not target.draining:
            return State.HEALTHY, NO_REASON
        return target.state(self.nodes)
