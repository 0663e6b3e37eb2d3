"""Choose the subnet, and so the zone, and the private address of a task."""

import ipaddress
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

# AWS reserves the first four addresses of a subnet and the last one.
RESERVED_FIRST = 4
RESERVED_LAST = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet that tasks may be placed in."""

    id: str
    zone: str
    vpc: str
    cidr: str


def choose_subnet(subnets: Sequence[Subnet], used: Iterable[str]) -> Subnet:
    """Choose the subnet for the next task. `used` holds the subnet ids of the service's live tasks.

    The zone with the fewest tasks wins, then the subnet with the fewest. The given order breaks ties, so a new service
    of four tasks in two zones is placed a, b, a, b.
    """
    zone_of = {subnet.id: subnet.zone for subnet in subnets}
    per_subnet = Counter(id for id in used if id in zone_of)
    per_zone: Counter[str] = Counter()
    for id, count in per_subnet.items():
        per_zone[zone_of[id]] += count
    return min(subnets, key=lambda subnet: (per_zone[subnet.zone], per_subnet[subnet.id]))


@dataclass(slots=True, kw_only=True)
class Addresses:
    """Assign private addresses in the ranges of subnets. No address is held twice."""

    rng: random.Random
    _held: set[str] = field(default_factory=set)

    def take(self, subnet: Subnet) -> str:
        """Assign a free address of the subnet. Raises ValueError if there is none."""
        network = ipaddress.ip_network(subnet.cidr, strict=False)
        usable = network.num_addresses - RESERVED_FIRST - RESERVED_LAST
        start = self.rng.randrange(max(1, usable))
        for step in range(max(1, usable)):
            address = str(network[RESERVED_FIRST + (start + step) % max(1, usable)])
            if address not in self._held:
                self._held.add(address)
                return address
        raise ValueError(f"subnet {subnet.id} ({subnet.cidr}) has no free address, {len(self._held)} are held")

    def release(self, address: str) -> None:
        """Free the address again."""
        self._held.discard(address)
