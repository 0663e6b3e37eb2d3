"""A token bucket that may run into debt: capacity as DynamoDB meters it.

Pure; the clock is passed in. What a request costs is known only after it ran, so it is admitted while anything is
left and pays afterwards: the average is exact, and a request of more units than a second gives still passes.
"""

from __future__ import annotations

from dataclasses import dataclass

# Unused provisioned capacity is kept this long.
BURST_S = 300.0
# A maximum of an on-demand table is no reservation: nothing is saved up beyond the second.
ON_DEMAND_BURST_S = 1.0


@dataclass(slots=True)
class Bucket:
    """`units_per_s` flow in, at most `burst_s` seconds' worth stay."""

    units_per_s: float
    burst_s: float
    tokens: float
    filled_at_s: float

    @classmethod
    def idle_for(cls, idle_s: float, units_per_s: float, burst_s: float, now_s: float) -> Bucket:
        """A bucket nobody drew from for so long; it holds one second's worth at least."""
        kept_s = min(max(idle_s, 1.0), burst_s)
        return cls(units_per_s=units_per_s, burst_s=burst_s, tokens=units_per_s * kept_s, filled_at_s=now_s)

    def left(self, now_s: float) -> float:
        """Units left now; zero or less: throttle."""
        tokens = self.tokens + (now_s - self.filled_at_s) * self.units_per_s
        self.tokens = min(tokens, self.units_per_s * self.burst_s)
        self.filled_at_s = now_s
        return self.tokens

    def take(self, units: float) -> None:
        """Pay for what ran; the next `left` reckons with it."""
        self.tokens -= units

    def resize(self, units_per_s: float, burst_s: float, now_s: float) -> None:
        """Another limit from now on; what was saved is kept as far as it fits."""
        self.left(now_s)
        self.units_per_s, self.burst_s = units_per_s, burst_s
        self.tokens = min(self.tokens, units_per_s * burst_s)
