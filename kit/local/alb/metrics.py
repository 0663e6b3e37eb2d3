"""Count requests, and aggregate the counters into AWS/ApplicationELB metric data."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

NAMESPACE = "AWS/ApplicationELB"
# AWS publishes once a minute. A game day on a laptop cannot wait that long (see docs/fidelity.md).
PERIOD_S = 10
# Buckets of response times are 4 % wide, so one period needs a few dozen values for any number of requests.
_BUCKETS_PER_E = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Datum:
    """One aggregated metric datum: each of `values` was observed `counts` times."""

    name: str
    unit: str
    dims: tuple[tuple[str, str], ...]
    values: tuple[float, ...]
    counts: tuple[float, ...]


@dataclass(slots=True)
class NodeCounters:
    """The counters of one load balancer node."""

    requests: int = 0
    new_connections: int = 0
    rejected_connections: int = 0
    processed_bytes: int = 0
    own_codes: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class TargetCounters:
    """The counters of the targets of one group in one zone."""

    requests: int = 0
    connection_errors: int = 0
    code_classes: Counter[int] = field(default_factory=Counter)
    times: Counter[int] = field(default_factory=Counter)

    def observe(self, status: int, response_s: float) -> None:
        """Count one response head and the time that the target took to send it."""
        self.code_classes[status // 100] += 1
        self.times[math.floor(math.log(response_s or 1e-6) * _BUCKETS_PER_E)] += 1

    def merge(self, other: "TargetCounters") -> None:
        """Add another zone's counters."""
        self.requests += other.requests
        self.connection_errors += other.connection_errors
        self.code_classes.update(other.code_classes)
        self.times.update(other.times)


@dataclass(slots=True)
class Counters:
    """All counters of one load balancer in one period."""

    nodes: dict[str, NodeCounters] = field(default_factory=dict)
    targets: dict[tuple[str, str], TargetCounters] = field(default_factory=dict)

    def node(self, zone: str) -> NodeCounters:
        """Return the counters of the node in this zone."""
        found = self.nodes.get(zone)
        if found is None:
            found = self.nodes[zone] = NodeCounters()
        return found

    def target(self, group: str, zone: str) -> TargetCounters:
        """Return the counters of a group's targets in this zone."""
        found = self.targets.get((group, zone))
        if found is None:
            found = self.targets[(group, zone)] = TargetCounters()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCount:
    """The number of healthy and unhealthy targets of a group in a zone."""

    group: str
    zone: str
    healthy: int
    unhealthy: int


def collect(load_balancer: str, counters: Counters, hosts: list[HostCount], *, connections: int) -> list[Datum]:
    """Turn one period's counters into metric data. Leaves out zeros that AWS does not report."""
    data = list(_node_data(load_balancer, counters.nodes))
    data += _target_data(load_balancer, counters.targets)
    data += _host_data(load_balancer, hosts)
    if connections:
        dims = (("LoadBalancer", load_balancer),)
        data.append(_single("ActiveConnectionCount", "Count", dims, connections))
    return data


def _node_data(load_balancer: str, nodes: dict[str, NodeCounters]) -> Iterator[Datum]:
    total = NodeCounters()
    for node in nodes.values():
        total.requests += node.requests
        total.new_connections += node.new_connections
        total.rejected_connections += node.rejected_connections
        total.processed_bytes += node.processed_bytes
        total.own_codes.update(node.own_codes)
    everywhere = (("LoadBalancer", load_balancer),)
    rows = [(everywhere, total)]
    rows += [((("AvailabilityZone", zone), *everywhere), node) for zone, node in nodes.items() if zone]
    for dims, node in rows:
        counts = {
            "RequestCount": node.requests,
            "NewConnectionCount": node.new_connections,
            "RejectedConnectionCount": node.rejected_connections,
            "HTTPCode_ELB_4XX_Count": sum(n for code, n in node.own_codes.items() if 400 <= code < 500),
            "HTTPCode_ELB_5XX_Count": sum(n for code, n in node.own_codes.items() if code >= 500),
            **{f"HTTPCode_ELB_{c}_Count": node.own_codes[c] for c in (500, 502, 503, 504)},
        }
        for name, count in counts.items():
            if count:
                yield _single(name, "Count", dims, count)
        if node.processed_bytes:
            yield _single("ProcessedBytes", "Bytes", dims, node.processed_bytes)


def _target_data(load_balancer: str, targets: dict[tuple[str, str], TargetCounters]) -> Iterator[Datum]:
    everywhere = (("LoadBalancer", load_balancer),)
    rows: dict[tuple[tuple[str, str], ...], TargetCounters] = {}
    for (group, zone), counted in targets.items():
        in_group = (("TargetGroup", group), *everywhere)
        keys = [everywhere, in_group]
        if zone:
            keys += [(("AvailabilityZone", zone), *everywhere), (("AvailabilityZone", zone), *in_group)]
        for dims in keys:
            rows.setdefault(dims, TargetCounters()).merge(counted)
    for dims, counted in rows.items():
        # RequestCount without a target group is counted by the nodes.
        if counted.requests and any(name == "TargetGroup" for name, _ in dims):
            yield _single("RequestCount", "Count", dims, counted.requests)
        if counted.connection_errors:
            yield _single("TargetConnectionErrorCount", "Count", dims, counted.connection_errors)
        for code_class, count in counted.code_classes.items():
            yield _single(f"HTTPCode_Target_{code_class}XX_Count", "Count", dims, count)
        if counted.times:
            yield Datum(
                name="TargetResponseTime",
                unit="Seconds",
                dims=dims,
                values=tuple(math.exp((bucket + 0.5) / _BUCKETS_PER_E) for bucket in counted.times),
                counts=tuple(float(count) for count in counted.times.values()),
            )


def _host_data(load_balancer: str, hosts: list[HostCount]) -> Iterator[Datum]:
    rows: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
    for count in hosts:
        in_group = (("TargetGroup", count.group), ("LoadBalancer", load_balancer))
        keys = [in_group, (("AvailabilityZone", count.zone), *in_group)] if count.zone else [in_group]
        for dims in keys:
            rows["HealthyHostCount", dims] += count.healthy
            rows["UnHealthyHostCount", dims] += count.unhealthy
    for (name, dims), value in rows.items():
        yield _single(name, "Count", dims, value)


def _single(name: str, unit: str, dims: tuple[tuple[str, str], ...], value: float) -> Datum:
    return Datum(name=name, unit=unit, dims=dims, values=(float(value),), counts=(1.0,))
