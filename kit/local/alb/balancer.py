"""Run one load balancer: its nodes, its listener on 127.0.0.1 and its client connections."""

import asyncio
import functools
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass

from kit.local.alb.client_connection import ClientConnection
from kit.local.alb.listeners import ListenerSpec, ListenerView
from kit.local.alb.metrics import Counters, Datum, HostCount, collect
from kit.local.alb.nodes import Node
from kit.local.alb.targets import State, Target, TargetGroup
from kit.local.alb.upstream import TARGET_CONNECT_TIMEOUT_S
from kit.local.endpoints import Endpoint
from kit.local.links import Links

# How often idle timeouts are checked, and so their resolution.
SWEEP_INTERVAL_S = 0.25
LISTEN_BACKLOG = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerSpec:
    """A load balancer's configuration, read from the control plane. The listener with the lowest port comes first."""

    arn: str
    name: str
    full_name: str
    account_id: str
    region: str
    nodes: tuple[Endpoint, ...]
    listeners: tuple[ListenerSpec, ...] = ()
    idle_timeout_s: float = 60.0

    @property
    def group_arns(self) -> frozenset[str]:
        """The target groups that the rules forward to."""
        rules = (rule for listener in self.listeners for rule in listener.rules)
        return frozenset(arn for rule in rules for arn, _ in rule.action.groups)


class Balancer:
    """The data plane of one load balancer."""

    def __init__(
        self,
        links: Links,
        spec: BalancerSpec,
        listener: socket.socket,
        find_group: Callable[[str], TargetGroup | None],
        *,
        seed: int,
        connect_timeout_s: float = TARGET_CONNECT_TIMEOUT_S,
    ) -> None:
        self.counters = Counters()
        self.connect_timeout_s = connect_timeout_s
        self.random = random.Random(f"alb-{seed}-{spec.name}")
        self.nodes: list[Node] = []
        self.clients: set[ClientConnection] = set()
        # Zones that a zonal shift moves traffic away from.
        self.away_from: frozenset[str] = frozenset()
        self._find_group = find_group
        self._links = links
        # By the ARN of the listener. The first socket, which DNSName shows, serves the listener with the lowest port.
        self._sockets: dict[str, socket.socket] = {"": listener}
        self._servers: dict[str, asyncio.Server] = {}
        self._accepted = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.apply(spec)

    def apply(self, spec: BalancerSpec) -> None:
        """Apply a changed configuration. Remaining nodes keep their connections."""
        self.spec = spec
        for arn in [arn for arn in self._sockets if arn and self.listener(arn) is None]:
            self._close_listener(arn)
        for client in [client for client in self.clients if not client.balancer.rules]:
            client.abort()
        if [node.endpoint for node in self.nodes] != list(spec.nodes):
            kept = {node.endpoint: node for node in self.nodes}
            self.nodes = [kept.pop(endpoint, None) or Node(self._links, endpoint) for endpoint in spec.nodes]
            for node in kept.values():
                self._drop_node(node)

    async def serve(self, take_socket: Callable[[str], socket.socket | None]) -> None:
        """Accept clients on the sockets that were bound when the load balancer and its listeners were created.

        `take_socket` returns the socket of a listener.
        """
        loop = asyncio.get_running_loop()
        for listener in self.spec.listeners:
            if listener.arn not in self._sockets and (bound := take_socket(listener.arn)) is not None:
                self._sockets[listener.arn] = bound
        for arn in [arn for arn in self._sockets if arn not in self._servers]:
            accept = functools.partial(self._accept, ListenerView(self, arn))
            self._servers[arn] = await loop.create_server(accept, sock=self._sockets[arn], backlog=LISTEN_BACKLOG)
        if "sweep" not in self._tasks:
            self._tasks["sweep"] = asyncio.ensure_future(self._sweep())
        for node in self.nodes:
            if node.name not in self._tasks:
                self._tasks[node.name] = asyncio.ensure_future(node.probe_from_internet())

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        for arn in list(self._sockets):
            self._close_listener(arn)
        for client in list(self.clients):
            client.abort()
        for node in self.nodes:
            node.abort()

    def listener(self, arn: str, /) -> ListenerSpec | None:
        """Return the present configuration of a listener; without an ARN, of the one with the lowest port."""
        return next((each for each in self.spec.listeners if arn in ("", each.arn)), None)

    def group(self, arn: str, /) -> TargetGroup | None:
        """Return the target group that a rule forwards to."""
        return self._find_group(arn)

    def drop_target(self, target: Target) -> None:
        """Drop the connections to a deregistered target."""
        for node in self.nodes:
            node.drop_pool(target)

    def take_period(self, groups: list[TargetGroup]) -> list[Datum]:
        """Return the metric data of the period that ends now, and start a new period."""
        counters, self.counters = self.counters, Counters()
        hosts = [count for group in groups for count in _host_counts(group)]
        connections = len(self.clients) + sum(node.connections() for node in self.nodes)
        return collect(self.spec.full_name, counters, hosts, connections=connections)

    def _accept(self, listener: ListenerView) -> ClientConnection:
        # DNS returns the addresses of healthy nodes, and all addresses when none is healthy.
        nodes = [node for node in self.nodes if node.endpoint.zone not in self.away_from] or self.nodes
        nodes = [node for node in nodes if node.in_dns] or nodes
        self._accepted += 1
        return ClientConnection(listener, nodes[self._accepted % len(nodes)], self.clients)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            now, idle_s_max = loop.time(), self.spec.idle_timeout_s
            for client in list(self.clients):
                client.check_idle(now, idle_s_max)
            for node in self.nodes:
                node.expire(idle_s_max)

    def _close_listener(self, arn: str) -> None:
        server = self._servers.pop(arn, None)
        if server is not None:
            server.close()
        self._sockets.pop(arn).close()

    def _drop_node(self, node: Node) -> None:
        task = self._tasks.pop(node.name, None)
        if task is not None:
            task.cancel()
        for client in [c for c in self.clients if c.node is node]:
            client.abort()
        node.abort()


def _host_counts(group: TargetGroup) -> list[HostCount]:
    states: dict[str, list[State]] = {}
    for target in group.targets.values():
        states.setdefault(target.zone, []).append(group.state_of(target)[0])
    return [
        HostCount(
            group=group.spec.full_name,
            zone=zone,
            healthy=found.count(State.HEALTHY),
            unhealthy=found.count(State.UNHEALTHY),
        )
        for zone, found in states.items()
    ]
