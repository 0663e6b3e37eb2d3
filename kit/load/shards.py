"""Split one plan among several load generators, which start and stop at the same time.

Operation i belongs to shard i modulo the number of shards, with every retry, resubmission and follow-up of it. The
subscribers of a market belong to one shard. Together the shards do exactly what one generator would do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from kit.errors import UsageError
from kit.load.follow_ups import scheduled_number
from kit.load.plan import LoadPlan
from kit.load.schedule import arrivals_ns, without_pauses
from kit.model import NS_PER_S
from kit.parameter_specs import RUN_PARAMETERS, ParameterSpec

# A shard that is ready later than this after the common start sends its first operations too late to be measured.
LATE_START_S_MAX = 0.1

COUNT = ParameterSpec(
    name="count", type=int, lowest=1, highest=RUN_PARAMETERS["load_tasks"].highest, default=1, subject="load shard:"
)
STARTS_AT_NS = ParameterSpec(
    name="starts_at_ns", type=int, lowest=0, highest=2**63 - 1, default=0, subject="load shard:"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of `count` parts of a plan; by default the whole plan.

    `starts_at_ns` is the epoch time of the schedule's zero, the same for all shards. 0 means as soon as the generator
    is ready, which only a whole plan may.
    """

    index: int = 0
    count: int = COUNT.default
    starts_at_ns: int = STARTS_AT_NS.default

    def __post_init__(self) -> None:
        """Raise UsageError for a value out of bounds."""
        COUNT.check(self.count)
        STARTS_AT_NS.check(self.starts_at_ns)
        index = ParameterSpec(name="index", type=int, lowest=0, highest=self.count - 1, subject="load shard:")
        index.check(self.index)
        if self.count > 1 and not self.starts_at_ns:
            raise UsageError(f"load shard: starts_at_ns=0, but {self.count} shards need one start time")

    def __str__(self) -> str:
        return f"shard {self.index} of {self.count}"

    def has_operation(self, op_id: int) -> bool:
        """Return whether the operation is scheduled by this shard, or follows one that is."""
        return scheduled_number(op_id) % self.count == self.index

    def has_market(self, plan: LoadPlan, symbol: str) -> bool:
        """Return whether this shard has the subscribers of the market."""
        return plan.markets.index(symbol) % self.count == self.index

    def arrivals(self, plan: LoadPlan) -> Iterator[tuple[int, int]]:
        """Yield number and offset in ns of each operation of this shard, by time."""
        numbered = enumerate(scheduled_ns(plan))
        return itertools.islice(numbered, self.index, None, self.count)

    def share_of(self, operations: int) -> int:
        """Return how many of the first `operations` of the plan belong to this shard."""
        return len(range(self.index, operations, self.count))


def scheduled_ns(plan: LoadPlan) -> Iterator[int]:
    """Yield the offset of each operation of the plan in ns, by time."""
    return without_pauses(arrivals_ns(plan.seed, plan.rate_per_s, plan.duration_max_s), plan.busy_s, plan.idle_s)


def operations_before(plan: LoadPlan, end_ns: int) -> int:
    """Count the operations of the plan whose offset is below `end_ns`."""
    return sum(1 for _ in itertools.takewhile(lambda offset_ns: offset_ns < end_ns, scheduled_ns(plan)))


def duration_ns(plan: LoadPlan) -> int:
    """Return the offset at which the schedule ends if nothing stops it before."""
    return int(plan.duration_max_s * NS_PER_S)
