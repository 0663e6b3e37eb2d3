"""Run all load balancers of one local cloud.

Balancers follow MiniStack's records, health checks follow targets, and metrics are published every period.
"""

import asyncio
import contextlib
import logging
import random
import time
from typing import Any

from kit.errors import UsageError
from kit.local.alb import configuration, target_health
from kit.local.alb.balancer import Balancer
from kit.local.alb.metrics import PERIOD_S
from kit.local.alb.ministack import ControlPlane
from kit.local.alb.targets import State, Target, TargetGroup
from kit.local.alb.upstream import HOST, TARGET_CONNECT_TIMEOUT_S
from kit.local.alb.wire import TargetRow
from kit.local.endpoints import TASK, Endpoint
from kit.local.links import Links

# The interval at which records that MiniStack changes in place are compared. AWS takes longer to apply changes.
RECONCILE_INTERVAL_S = 1.0
DRAIN_POLL_S = 0.05

log = logging.getLogger(__name__)


class LoadBalancers:
    """Application load balancers with a real data plane on 127.0.0.1."""

    def __init__(
        self,
        links: Links,
        seed: int,
        *,
        period_s: float = PERIOD_S,
        connect_timeout_s: float = TARGET_CONNECT_TIMEOUT_S,
    ) -> None:
        self._links = links
        self._seed = seed
        self._period_s = period_s
        self._connect_timeout_s = connect_timeout_s
        self._random = random.Random(f"alb-{seed}")
        self._control = ControlPlane(self, self._change)
        self._balancers: dict[str, Balancer] = {}
        self._groups: dict[str, TargetGroup] = {}
        # Host port and endpoint of each registered address, kept after deregistration for a later registration.
        self._addresses: dict[tuple[str, int], tuple[int, Endpoint]] = {}
        # Zonal shifts in force, as (load balancer, zone), with one entry for each shift that began.
        self._shifts: list[tuple[str, str]] = []
        self._checks: dict[tuple[Target, str], asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Patch MiniStack and follow its records."""
        self._loop = asyncio.get_running_loop()
        self._control.install()
        self._spawn(self._follow())
        self._spawn(self._publish_each_period())

    async def stop(self) -> None:
        """Close every listener and connection, and undo the patches."""
        tasks = [*self._tasks, *self._checks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._checks.clear()
        self._control.uninstall()
        for balancer in self._balancers.values():
            await balancer.close()
        self._balancers.clear()

    # Called by the task scheduler.

    def register(self, group_arn: str, *, target_id: str, port: int, host_port: int, endpoint: Endpoint) -> None:
        """Register a target that listens on 127.0.0.1:`host_port`. Raises UsageError for an unknown group."""
        self._addresses[(target_id, port)] = (host_port, endpoint)
        self._add(group_arn, target_id, port)

    async def deregister(self, group_arn: str, target_id: str, port: int) -> None:
        """Drain a target and remove it.

        Returns when no request to it is in flight, at the latest after the deregistration delay. Requests then fail
        with 502 and WebSockets are dropped. Returns at once for an unknown target.
        """
        group = self._groups.get(group_arn)
        target = group.targets.get((target_id, port)) if group else None
        if group is None or target is None:
            return
        target.draining = True
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + group.spec.deregistration_delay_s
        # Any of three conditions ends the wait, one of them a deadline. Polling is the simplest way to express it.
        while target.in_flight and loop.time() < ends_at and target.draining:  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_POLL_S)
        if not target.draining or group.targets.get((target_id, port)) is not target:
            return
        for exchange in list(target.in_flight):
            exchange.end_drain()
        del group.targets[(target_id, port)]
        for balancer in self._balancers.values():
            balancer.drop_target(target)
        self._change()

    def health(self, group_arn: str, target_id: str, port: int) -> str:
        """Return a target's state: initial, healthy, unhealthy, draining, or unused when it is not registered."""
        group = self._groups.get(group_arn)
        target = group.targets.get((target_id, port)) if group else None
        return str(group.state_of(target)[0]) if group and target else str(State.UNUSED)

    # Called by FIS.

    def shift_away(self, balancer_arn: str, zone: str) -> None:
        """Begin a zonal shift: remove the zone's nodes from DNS and send its targets no new request.

        Open connections stay with their node, which forwards their requests to targets in other zones.
        """
        self._shifts.append((balancer_arn, zone))
        self._apply_shifts(balancer_arn)

    def end_shift(self, balancer_arn: str, zone: str) -> None:
        """End one zonal shift. Ignores a shift that never began."""
        if (balancer_arn, zone) in self._shifts:
            self._shifts.remove((balancer_arn, zone))
            self._apply_shifts(balancer_arn)

    def _apply_shifts(self, balancer_arn: str) -> None:
        balancer = self._balancers.get(balancer_arn)
        if balancer is not None:
            balancer.away_from = frozenset(zone for arn, zone in self._shifts if arn == balancer_arn)

    # Called by the elbv2 API.

    def register_address(self, group_arn: str, target_id: str, port: int) -> None:
        """Register a target by its address: one that was registered before, or one on 127.0.0.1."""
        if (target_id, port) not in self._addresses:
            if target_id not in (HOST, "localhost"):
                raise UsageError(
                    f"target {target_id}:{port} is no task of the local cloud; only {HOST}:PORT can be registered"
                )
            self._addresses[(target_id, port)] = (port, Endpoint(kind=TASK, id=f"{target_id}:{port}"))
        self._add(group_arn, target_id, port)

    def deregister_soon(self, group_arn: str, target_id: str, port: int) -> None:
        """Start to drain a target and return."""
        group = self._groups.get(group_arn)
        if group and (target := group.targets.get((target_id, port))):
            target.draining = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(lambda: self._spawn(self.deregister(group_arn, target_id, port)))

    def describe(self, group_arn: str) -> list[TargetRow]:
        """Return id, port, zone, state and reason of every target of a group."""
        group = self._groups.get(group_arn)
        if group is None:
            return []
        return [(t.id, t.port, t.zone, *group.state_of(t)) for t in group.targets.values()]

    def _add(self, group_arn: str, target_id: str, port: int) -> None:
        group = self._group(group_arn)
        if group is None:
            raise UsageError(f"target group {group_arn!r} does not exist")
        known = group.targets.get((target_id, port))
        if known is not None:
            if known.draining:
                known.draining = False
                for view in known.views.values():
                    view.restart()
            return
        host_port, endpoint = self._addresses[(target_id, port)]
        group.targets[(target_id, port)] = Target(id=target_id, port=port, host_port=host_port, endpoint=endpoint)
        self._change()

    def _group(self, arn: str) -> TargetGroup | None:
        group = self._groups.get(arn)
        if group is None:
            spec = configuration.group(arn)
            if spec is None:
                return None
            group = self._groups[arn] = TargetGroup(spec)
        return group

    def _change(self) -> None:
        # MiniStack provisions CloudFormation resources in worker threads too.
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self._reconcile()
            except Exception:
                # Boundary: a record that cannot be read must not stop the others.
                log.exception("load balancers could not follow the control plane")
            # Not wait_for: before Python 3.12 it can swallow the cancellation with which `stop` ends this task.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RECONCILE_INTERVAL_S):
                    await self._changed.wait()

    async def _reconcile(self) -> None:
        specs = {spec.arn: spec for spec in configuration.balancers()}
        for arn in [arn for arn in self._balancers if arn not in specs]:
            await self._balancers.pop(arn).close()
        for arn, spec in specs.items():
            balancer = self._balancers.get(arn)
            if balancer is None:
                bound = self._control.take_socket(arn)
                if bound is None:
                    continue  # deleted meanwhile
                balancer = self._balancers[arn] = Balancer(
                    self._links,
                    spec,
                    bound,
                    self._group,
                    seed=self._seed,
                    connect_timeout_s=self._connect_timeout_s,
                )
            else:
                balancer.apply(spec)
            if spec.listeners:
                await balancer.serve(self._control.take_socket)
        self._reconcile_groups()
        self._reconcile_checks()

    def _reconcile_groups(self) -> None:
        for arn, group in list(self._groups.items()):
            spec = configuration.group(arn)
            if spec is None:
                del self._groups[arn]
                continue
            group.spec = spec
            group.nodes = tuple(node.name for balancer in self._users(arn) for node in balancer.nodes)

    def _reconcile_checks(self) -> None:
        wanted = {
            (target, node.name): (node, group)
            for arn, group in self._groups.items()
            if group.spec.check_enabled
            for balancer in self._users(arn)
            for node in balancer.nodes
            for target in group.targets.values()
        }
        for key in [key for key in self._checks if key not in wanted]:
            self._checks.pop(key).cancel()
        for key, (node, group) in wanted.items():
            if key not in self._checks:
                self._checks[key] = asyncio.ensure_future(target_health.watch(node, key[0], group, self._random))

    def _users(self, group_arn: str) -> list[Balancer]:
        return [b for b in self._balancers.values() if group_arn in b.spec.group_arns]

    async def _publish_each_period(self) -> None:
        while True:
            now = time.time()
            ends_at = (now // self._period_s + 1) * self._period_s
            await asyncio.sleep(ends_at - now)
            self._publish(ends_at - self._period_s)

    def _publish(self, period_began_at: float) -> None:
        for balancer in self._balancers.values():
            groups = [group for arn in balancer.spec.group_arns if (group := self._groups.get(arn))]
            self._control.publish(balancer.spec, balancer.take_period(groups), period_began_at)
