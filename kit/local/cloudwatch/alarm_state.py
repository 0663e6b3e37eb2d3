"""Decide an alarm's state from its datapoints, as CloudWatch documents it: M of N, and missing data.

A datapoint is True (breaching), False (within the threshold) or None (missing). Lists run from the oldest to the
newest and span the whole evaluation range.
"""

from collections.abc import Sequence

OK = "OK"
ALARM = "ALARM"
INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
STATES = (OK, ALARM, INSUFFICIENT_DATA)

MISSING = "missing"
IGNORE = "ignore"
BREACHING = "breaching"
NOT_BREACHING = "notBreaching"
TREATMENTS = (BREACHING, NOT_BREACHING, IGNORE, MISSING)

# CloudWatch retrieves more datapoints than it evaluates; its published tables use 5 for an alarm of 3.
RANGE_EXTRA = 2


def state_of_datapoints(
    datapoints: Sequence[bool | None], *, periods: int, to_alarm: int, treat_missing: str, state: str
) -> str:
    """Return the state for these datapoints, or the present `state` where CloudWatch keeps it."""
    real = [point for point in datapoints if point is not None]
    if len(real) >= periods:
        return ALARM if sum(real[-periods:]) >= to_alarm else OK
    breaching = sum(real)
    if treat_missing == BREACHING:
        return ALARM if breaching + periods - len(real) >= to_alarm else OK
    if breaching >= to_alarm:
        return ALARM
    if treat_missing == NOT_BREACHING or len(real) > breaching:
        return OK
    if treat_missing == IGNORE:
        return state
    return _state_of_sparse(datapoints, to_alarm=to_alarm, state=state)


def _state_of_sparse(datapoints: Sequence[bool | None], *, to_alarm: int, state: str) -> str:
    """Return the state where missing data counts as missing, and all other datapoints are breaching.

    `- - X - -` alarms: M periods have passed since the breach, and no datapoint was within the threshold. `- - - - X`
    waits, because the next datapoint may be within the threshold.
    """
    if True not in datapoints:
        return INSUFFICIENT_DATA
    age_of_oldest = len(datapoints) - list(datapoints).index(True)
    return ALARM if age_of_oldest >= to_alarm else state
