"""Write the reason of an alarm's change of state as CloudWatch does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kit.local.cloudwatch.alarm_definitions import COMPARISONS, Alarm
from kit.local.cloudwatch.alarm_state import ALARM, INSUFFICIENT_DATA, OK
from kit.local.cloudwatch.series import Series


def reason(alarm: Alarm, old_state: str, state: str, recent: Series, *, periods: int, to_alarm: int) -> str:
    """Return StateReason in CloudWatch's words."""
    if state == INSUFFICIENT_DATA:
        return f"Insufficient Data: {periods} datapoint{_s(periods)} {_were(periods)} unknown."
    words, breaches = COMPARISONS[alarm["ComparisonOperator"]]
    limit = float(alarm["Threshold"])
    shown = sorted(recent, reverse=True)[:periods]
    matching = [at for at in shown if breaches(recent[at], limit) == (state == ALARM)]
    if not matching:
        return f"Threshold Crossed: no datapoints were received for {periods} period{_s(periods)}."
    listed = ", ".join(f"{recent[at]} ({_clock_time(at)})" for at in matching)
    negation = "" if state == ALARM else "not "
    needed = to_alarm if state == ALARM else periods - to_alarm + 1
    return (
        f"Threshold Crossed: {len(matching)} out of the last {periods} datapoint{_s(periods)} [{listed}] "
        f"{_were(len(matching))} {negation}{words} the threshold ({limit}) "
        f"(minimum {needed} datapoint{_s(needed)} for {_direction(old_state, state)} transition)."
    )


def _direction(old_state: str, state: str) -> str:
    return f"{OK if state == ALARM and old_state == INSUFFICIENT_DATA else old_state} -> {state}"


def reason_data(alarm: Alarm, recent: Series, now: float, *, period_s: int) -> dict[str, Any]:
    """Return StateReasonData, the datapoints behind a change of state."""
    data = {
        "version": "1.0",
        "queryDate": _iso(now),
        "startDate": _iso(min(recent)) if recent else None,
        "statistic": alarm.get("ExtendedStatistic") or alarm.get("Statistic"),
        "period": period_s,
        "recentDatapoints": [recent[at] for at in sorted(recent)],
        "threshold": float(alarm["Threshold"]),
        "evaluatedDatapoints": [{"timestamp": _iso(at), "value": recent[at]} for at in sorted(recent, reverse=True)],
    }
    return {key: value for key, value in data.items() if value is not None}


def _clock_time(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%d/%m/%y %H:%M:%S")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
