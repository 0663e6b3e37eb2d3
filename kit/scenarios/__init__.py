"""What a game day believes, breaks and asks: one module per scenario, values only. Talks to nothing."""

from kit.errors import UsageError
from kit.scenarios.api_latency import API_LATENCY
from kit.scenarios.api_termination import API_TERMINATION
from kit.scenarios.az_loss import AZ_LOSS
from kit.scenarios.az_loss_throttled import AZ_LOSS_THROTTLED
from kit.scenarios.data_throttling import DATA_THROTTLING
from kit.scenarios.dependency_loss import DEPENDENCY_LOSS
from kit.scenarios.deploy_latency import DEPLOY_LATENCY
from kit.scenarios.matcher_freeze import MATCHER_FREEZE
from kit.scenarios.model import Scenario
from kit.scenarios.network_impairment import NETWORK_IMPAIRMENT
from kit.scenarios.rolling_deploy import ROLLING_DEPLOY
from kit.scenarios.steady_state import STEADY_STATE
from kit.scenarios.store_cut import STORE_CUT

ALL = (
    AZ_LOSS,
    NETWORK_IMPAIRMENT,
    DATA_THROTTLING,
    API_LATENCY,
    DEPENDENCY_LOSS,
    MATCHER_FREEZE,
    STORE_CUT,
    ROLLING_DEPLOY,
    API_TERMINATION,
    AZ_LOSS_THROTTLED,
    DEPLOY_LATENCY,
    STEADY_STATE,
)
KNOWN = {scenario.name: scenario for scenario in ALL}

__all__ = ["Scenario", "get", "names"]


def names() -> tuple[str, ...]:
    """All scenarios, sorted."""
    return tuple(sorted(KNOWN))


def get(name: str) -> Scenario:
    """The scenario of that name. Raises UsageError that lists the known ones."""
    if name not in KNOWN:
        raise UsageError(f"scenario {name!r} is unknown; known: {', '.join(names())}")
    return KNOWN[name]
