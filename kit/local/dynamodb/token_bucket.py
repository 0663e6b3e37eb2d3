"""Meter capacity as DynamoDB does, by a token bucket that may go into debt.

The cost of a request is known only after it ran. A request is admitted while tokens are left, and pays afterwards: the
average rate is exact, and a request that costs more than a second's units still passes.
"""

from __future__ import annotations

from dataclasses import dataclass

# Unused provisioned capacity is saved for this long.
BURST_S = 300.0
# The maximum of an on-demand table is not a reservation, so only one second is saved.
ON_DEMAND_BURST_S = 1.0


@dataclass(slots=True)
class Bucket:
    """`units_per_s` are added, and the units of at most `burst_s` are saved."""

    units_per_s: float
    burst_s: float
    tokens: float
    filled_at_s: float

    @classmethod
    def idle_for(cls, idle_s: float, units_per_s: float, burst_s: float, now_s: float) -> Bucket:
        """Return a bucket that was not used for `idle_s`; it holds at least the units of one second."""
        kept_s = min(max(idle_s, 1.0), burst_s)
        return cls(units_per_s=units_per_s, burst_s=burst_s, tokens=units_per_s * kept_s, filled_at_s=now_s)

    def left(self, now_s: float) -> float:
        """Return the units that are left now. Throttle at zero or less."""
        tokens = self.tokens + (now_s - self.filled_at_s) * self.units_per_s
        self.tokens = min(tokens, self.units_per_s * self.burst_s)
        self.filled_at_s = now_s
        return self.tokens

    def take(self, units: float) -> None:
        """Charge the units of a request that ran."""
        self.tokens -= units

    def resize(self, units_per_s: float, burst_s: float, now_s: float) -> None:
        """Change the limit, and keep the saved units up to the new maximum."""
        self.left(now_s)
        self.units_per_s, self.burst_s = units_per_s, burst_s
        self.tokens = min(self.tokens, units_per_s * burst_s)
