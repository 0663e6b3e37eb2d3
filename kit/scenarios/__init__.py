"""What a game day believes, breaks and asks: one module per scenario, values only. Talks to nothing."""

from kit.errors import UsageError
from kit.scenarios.az_loss import AZ_LOSS
from kit.scenarios.model import Scenario

KNOWN = {scenario.name: scenario for scenario in (AZ_LOSS,)}

__all__ = ["Scenario", "get", "names"]


def names() -> tuple[str, ...]:
    """All scenarios, sorted."""
    return tuple(sorted(KNOWN))


def get(name: str) -> Scenario:
    """The scenario of that name. Raises UsageError that lists the known ones."""
    if name not in KNOWN:
        raise UsageError(f"scenario {name!r} is unknown; known: {', '.join(names())}")
    return KNOWN[name]
