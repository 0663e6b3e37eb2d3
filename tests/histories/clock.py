"""The clock of the small exchange, which advances only by `tick`."""

from __future__ import annotations

from dataclasses import dataclass

T0_NS = 1_760_000_000_000_000_000
MS = 1_000_000


@dataclass(slots=True)
class Clock:
    now: int = T0_NS

    def tick(self, ms: float = 3.0) -> int:
        self.now += int(ms * MS)
        return self.now
