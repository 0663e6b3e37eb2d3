"""Count latencies in logarithmic buckets.

The middle of a bucket is within ACCURACY of every value in it, so a percentile is too (the layout of DDSketch: Masson,
Rim, Lee, VLDB 2019, section 2).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

ACCURACY = 0.01
GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
# No network call takes less. Below it the logarithm would tend to minus infinity.
MS_MIN = 0.001


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts` by bucket; bucket i holds (GAMMA^(i-1), GAMMA^i] ms."""

    counts: Mapping[int, int]

    @classmethod
    def of(cls, values_ms: Iterable[float]) -> Self:
        """Count values in ms. Raises ValueError for one that is negative or not finite."""
        counts: Counter[int] = Counter()
        for value in values_ms:
            if not value >= 0 or math.isinf(value):
                raise ValueError(f"latency {value!r} ms is not a finite number ≥ 0")
            counts[math.ceil(math.log(max(value, MS_MIN)) / math.log(GAMMA))] += 1
        return cls(dict(counts))

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_plain` made. Raises ValueError for anything else."""
        counts = {int(bucket): count for bucket, count in value.items()}
        if not all(isinstance(count, int) and count > 0 for count in counts.values()):
            raise ValueError("a histogram's counts are integers above 0")
        return cls(counts)

    def to_plain(self) -> dict[str, int]:
        """Return JSON types, with the buckets in order."""
        return {str(bucket): self.counts[bucket] for bucket in sorted(self.counts)}

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def percentile(self, share: float) -> float:
        """Return the value in ms that `share` percent do not exceed, within ACCURACY. Raises ValueError when empty."""
        if not self.counts:
            raise ValueError("an empty histogram has no percentile")
        wanted, seen = math.ceil(self.total * share / 100), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return 2 * GAMMA**bucket / (GAMMA + 1)
        raise AssertionError("unreachable: counts add up to their total")
