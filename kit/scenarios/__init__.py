"""Define the scenarios: what a game day expects, what it breaks, and the limits that it checks. One module each."""

from kit.errors import UsageError
from kit.scenarios.api_latency import API_LATENCY
from kit.scenarios.api_termination import API_TERMINATION
from kit.scenarios.az_loss import AZ_LOSS
from kit.scenarios.az_loss_throttled import AZ_LOSS_THROTTLED
from kit.scenarios.data_throttling import DATA_THROTTLING
from kit.scenarios.defaults import AVAILABILITY_SLO
from kit.scenarios.dependency_loss import DEPENDENCY_LOSS
from kit.scenarios.deploy_latency import DEPLOY_LATENCY
from kit.scenarios.matcher_freeze import MATCHER_FREEZE
from kit.scenarios.network_impairment import NETWORK_IMPAIRMENT
from kit.scenarios.rolling_deploy import ROLLING_DEPLOY
from kit.scenarios.scenario import Scenario
from kit.scenarios.slow_commits import SLOW_COMMITS
from kit.scenarios.slow_names import SLOW_NAMES
from kit.scenarios.soak import SOAK
from kit.scenarios.steady_state import STEADY_STATE
from kit.scenarios.store_cut import STORE_CUT
from kit.scenarios.unusual_answers import UNUSUAL_ANSWERS

__all__ = ["AVAILABILITY_SLO", "Scenario", "get", "names"]

_BY_NAME = {
    scenario.name: scenario
    for scenario in (
        API_LATENCY,
        API_TERMINATION,
        AZ_LOSS,
        AZ_LOSS_THROTTLED,
        DATA_THROTTLING,
        DEPENDENCY_LOSS,
        DEPLOY_LATENCY,
        MATCHER_FREEZE,
        NETWORK_IMPAIRMENT,
        ROLLING_DEPLOY,
        SLOW_COMMITS,
        SLOW_NAMES,
        SOAK,
        STEADY_STATE,
        STORE_CUT,
        UNUSUAL_ANSWERS,
    )
}


def names() -> tuple[str, ...]:
    """Return the names of all scenarios, sorted."""
    return tuple(sorted(_BY_NAME))


def get(name: str) -> Scenario:
    """Return the scenario of that name. Raises UsageError, which lists the known names."""
    if name not in _BY_NAME:
        raise UsageError(f"scenario {name!r} is unknown; known: {', '.join(names())}")
    return _BY_NAME[name]
