"""Divide the load of a run into the phases by which it is judged."""

from __future__ import annotations

from kit.model import FaultWindow, Phase
from kit.scenarios import Scenario

# The recovery window takes at most this share of the load after the fault, the rest is `after`.
RECOVERY_SHARE_MAX = 0.6


def phase_windows(start: float, fault: FaultWindow | None, end: float, scenario: Scenario) -> tuple[Phase, ...]:
    """Divide a load into before, during, recovery and after (epoch s); only `before` if nothing was injected.

    Objectives of `after` must hold once the scenario's recovery time is over. A load that ends early leaves the last
    1 - RECOVERY_SHARE_MAX of its time after the fault to `after`.
    """
    if not start or end <= start:
        return ()
    if fault is None or fault.injected_at is None:
        return (Phase(name="before", start=start, end=end),)
    over = min(fault.ended_at or end, end)
    recovered = over + min(scenario.recovery_s_max, RECOVERY_SHARE_MAX * (end - over))
    return (
        Phase(name="before", start=start, end=fault.injected_at),
        Phase(name="during", start=fault.injected_at, end=over),
        Phase(name="recovery", start=over, end=recovered),
        Phase(name="after", start=recovered, end=end),
    )
