"""What DynamoDB counts, and the AWS/DynamoDB data that become of it.

Owns the counters of every table and index that had traffic. Must not know limits, locks or requests; `publish` is the
seam to MiniStack's CloudWatch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ministack.core.responses import request_scope
from ministack.services import cloudwatch

NAMESPACE = "AWS/DynamoDB"
# AWS publishes once a minute; a game day on a laptop cannot wait that long (see docs/fidelity.md).
PERIOD_S = 10
# Replication latencies are kept in steps of so many milliseconds, so one period is a few dozen values.
LATENCY_STEP_MS = 50

# Account, region, table and index (none for the table itself).
Subject = tuple[str, str, str, str | None]
Dims = dict[str, str]


@dataclass(slots=True)
class Meter:
    """The counters of one table or of one index, in one period."""

    # Units of one request → how many requests.
    read: Counter[float] = field(default_factory=Counter)
    write: Counter[float] = field(default_factory=Counter)
    # Throttled reads and writes, and the same by reason.
    throttles: Counter[str] = field(default_factory=Counter)
    # The rest only tables have: throttled requests by operation, rejected items, latencies by receiving region.
    requests: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0
    latencies_ms: dict[str, Counter[float]] = field(default_factory=dict)

    def throttle(self, verb: str, limit: str) -> None:
        """Count one throttled event: Read or Write, and which kind of limit it met."""
        self.throttles[f"{verb}ThrottleEvents"] += 1
        self.throttles[f"{verb}{limit.removesuffix('Exceeded')}ThrottleEvents"] += 1

    def replicated(self, region: str, latency_s: float) -> None:
        """Count one write that reached another region."""
        step = round(latency_s * 1000 / LATENCY_STEP_MS) * LATENCY_STEP_MS
        self.latencies_ms.setdefault(region, Counter())[float(step)] += 1

    def clear(self) -> None:
        """Begin another period."""
        for counter in (self.read, self.write, self.throttles, self.requests):
            counter.clear()
        self.conflicts = 0
        self.latencies_ms.clear()

    def data(self, dims: Dims) -> Iterator[tuple[str, str, Dims, Counter[float]]]:
        """Name, unit, dimensions and value → count of each metric that has something to say."""
        yield "ConsumedReadCapacityUnits", "Count", dims, self.read
        yield "ConsumedWriteCapacityUnits", "Count", dims, self.write
        for name, count in self.throttles.items():
            yield name, "Count", dims, Counter({1.0: count})
        for operation, count in self.requests.items():
            yield "ThrottledRequests", "Count", {**dims, "Operation": operation}, Counter({1.0: count})
        if self.conflicts:
            yield "TransactionConflict", "Count", dims, Counter({1.0: self.conflicts})
        for region, latencies in self.latencies_ms.items():
            yield "ReplicationLatency", "Milliseconds", {**dims, "ReceivingRegion": region}, latencies


class Metrics:
    """The meters of all tables and indexes."""

    def __init__(self) -> None:
        self._meters: dict[Subject, Meter] = {}

    def meter(self, subject: Subject) -> Meter:
        """The meter of a table or an index; it may be kept, and counts on after every publish."""
        found = self._meters.get(subject)
        if found is None:
            found = self._meters[subject] = Meter()
        return found

    def publish(self, began_at: float) -> None:
        """Store the period in CloudWatch and begin another; who had no traffic says nothing."""
        for (account, region, table, index), meter in self._meters.items():
            dims = {"TableName": table}
            if index is not None:
                dims["GlobalSecondaryIndexName"] = index
            with request_scope(account, region):
                for name, unit, on, counts in meter.data(dims):
                    if counts:
                        cloudwatch._store_datum(
                            NAMESPACE, name, on, began_at, unit, None,
                            list(counts.keys()), [float(n) for n in counts.values()], None,
                        )  # fmt: skip
            meter.clear()

    def forget(self, is_there: Callable[[str, str, str], bool]) -> None:
        """Drop the meters of tables that are gone: account, region and name."""
        self._meters = {subject: meter for subject, meter in self._meters.items() if is_there(*subject[:3])}
