"""Watch the CloudWatch alarms of a deployment (`deploymentConfiguration.alarms`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ALARM = "ALARM"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmState:
    """The state of an alarm, and how long it takes to see a change of its metric."""

    state: str
    span_s: float


# Returns an alarm of an account and Region by name, or None if there is none.
FindAlarm = Callable[[str, str, str], AlarmState | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmSettings:
    """The alarms that fail a deployment."""

    names: tuple[str, ...] = ()
    enabled: bool = False
    rollback: bool = False

    def describe(self) -> dict[str, Any]:
        return {"alarmNames": list(self.names), "enable": self.enabled, "rollback": self.rollback}


def in_alarm(states: Sequence[tuple[str, AlarmState | None]]) -> list[str]:
    """Return the names of the alarms that are in ALARM."""
    return [name for name, found in states if found is not None and found.state == ALARM]


def bake_s(states: Sequence[tuple[str, AlarmState | None]]) -> float:
    """Return how long alarms are watched after the tasks were replaced: as long as the slowest of them needs."""
    return max((found.span_s for _, found in states if found is not None), default=0.0)
