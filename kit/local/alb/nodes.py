"""Run a load balancer node: its connection pools, and whether DNS returns its address. One node per subnet."""

import asyncio

from kit.local.alb.targets import Target
from kit.local.alb.upstream import Pool
from kit.local.endpoints import INTERNET, Endpoint
from kit.local.links import LinkReset, Links

# After failed probes DNS no longer returns a node's address. On AWS this takes 30 s plus a TTL of 60 s.
NODE_PROBE_INTERVAL_S = 5.0
NODE_PROBE_TIMEOUT_S = 2.0
NODE_PROBES_FAILED_MAX = 2


class Node:
    """One node. `name` is its subnet id."""

    def __init__(self, links: Links, endpoint: Endpoint) -> None:
        self.links = links
        self.endpoint = endpoint
        self.name = endpoint.subnet
        self.in_dns = True
        self._failed = 0
        self._pools: dict[Target, Pool] = {}

    def pool(self, target: Target) -> Pool:
        """Return the node's connections to a target."""
        pool = self._pools.get(target)
        if pool is None:
            pool = self._pools[target] = Pool(self.links, node=self.endpoint, target=target)
        return pool

    def drop_pool(self, target: Target) -> None:
        """Drop every connection to a target that was removed."""
        pool = self._pools.pop(target, None)
        if pool is not None:
            pool.abort()

    def expire(self, idle_s_max: float) -> None:
        """Close upstream connections that were idle for longer than `idle_s_max`."""
        for pool in self._pools.values():
            pool.expire(idle_s_max)

    def connections(self) -> int:
        """Count the open connections to targets."""
        return sum(len(pool.connections) for pool in self._pools.values())

    def abort(self) -> None:
        """Drop every connection to every target."""
        for pool in self._pools.values():
            pool.abort()
        self._pools.clear()

    async def probe_from_internet(self) -> None:
        """Probe the node as DNS health checks would, until cancelled."""
        while True:
            self._record(await self._answers())
            await asyncio.sleep(NODE_PROBE_INTERVAL_S)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(NODE_PROBE_TIMEOUT_S):
                await self.links.carry(INTERNET, self.endpoint)
                await self.links.carry(self.endpoint, INTERNET)
        except (TimeoutError, LinkReset):
            return False
        return True

    def _record(self, answered: bool) -> None:
        self._failed = 0 if answered else self._failed + 1
        self.in_dns = self._failed < NODE_PROBES_FAILED_MAX
