"""Count the traffic of tables and indexes, and publish it as AWS/DynamoDB metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ministack.core.responses import request_scope
from ministack.services import cloudwatch

NAMESPACE = "AWS/DynamoDB"
# AWS publishes every minute, which is too slow for a game day on a laptop (see docs/fidelity.md).
PERIOD_S = 10
# Replication latencies are rounded to this step, so a period has a few dozen values.
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
    # Throttled reads and writes, in all and by reason.
    throttles: Counter[str] = field(default_factory=Counter)
    # For tables only: throttled requests and 5xx answers by operation, conflicts, latencies by receiving Region.
    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0
    latencies_ms: dict[str, Counter[float]] = field(default_factory=dict)

    def throttle(self, verb: str, limit: str) -> None:
        """Count one throttled event by its verb, Read or Write, and by its kind of limit."""
        self.throttles[f"{verb}ThrottleEvents"] += 1
        self.throttles[f"{verb}{limit.removesuffix('Exceeded')}ThrottleEvents"] += 1

    def replicated(self, region: str, latency_s: float) -> None:
        """Count one write that was applied in another Region."""
        step = round(latency_s * 1000 / LATENCY_STEP_MS) * LATENCY_STEP_MS
        self.latencies_ms.setdefault(region, Counter())[float(step)] += 1

    def clear(self) -> None:
        """Start a new period."""
        for counter in (self.read, self.write, self.throttles, self.requests, self.errors):
            counter.clear()
        self.conflicts = 0
        self.latencies_ms.clear()

    def data(self, dims: Dims) -> Iterator[tuple[str, str, Dims, Counter[float]]]:
        """Yield name, unit, dimensions and values with their counts of each metric."""
        yield "ConsumedReadCapacityUnits", "Count", dims, self.read
        yield "ConsumedWriteCapacityUnits", "Count", dims, self.write
        for name, count in self.throttles.items():
            yield name, "Count", dims, Counter({1.0: count})
        for operation, count in self.requests.items():
            yield "ThrottledRequests", "Count", {**dims, "Operation": operation}, Counter({1.0: count})
        for operation, count in self.errors.items():
            yield "SystemErrors", "Count", {**dims, "Operation": operation}, Counter({1.0: count})
        if self.conflicts:
            yield "TransactionConflict", "Count", dims, Counter({1.0: self.conflicts})
        for region, latencies in self.latencies_ms.items():
            yield "ReplicationLatency", "Milliseconds", {**dims, "ReceivingRegion": region}, latencies


class Metrics:
    """The meters of all tables and indexes."""

    def __init__(self) -> None:
        self._meters: dict[Subject, Meter] = {}

    def meter(self, subject: Subject) -> Meter:
        """Return the meter of a table or an index. The same meter is used in every period."""
        found = self._meters.get(subject)
        if found is None:
            found = self._meters[subject] = Meter()
        return found

    def publish(self, began_at: float) -> None:
        """Store the period in CloudWatch and start a new one. Without traffic there is no datapoint."""
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

    def forget(self, exists: Callable[[str, str, str], bool]) -> None:
        """Drop the meters of deleted tables; `exists` takes account, Region and name."""
        self._meters = {subject: meter for subject, meter in self._meters.items() if exists(*subject[:3])}
