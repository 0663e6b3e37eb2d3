"""Hold back the actions of a composite alarm while its suppressor is in ALARM.

Source: the CloudWatch user guide, "Alarm suppression", and PutCompositeAlarm. The alarm's state changes as ever, and so
do its events; only its actions wait. After a wait or an extension period, the actions of the state that it has then are
performed, unless it is the state for which actions were performed last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kit.local.cloudwatch.alarm_state import ALARM

SUPPRESSOR = "ActionsSuppressor"
WAIT_S, EXTENSION_S = "ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod"
MEMBERS = (SUPPRESSOR, WAIT_S, EXTENSION_S)
# Members of DescribeAlarms.
BY, REASON = "ActionsSuppressedBy", "ActionsSuppressedReason"
BY_ALARM, BY_WAIT, BY_EXTENSION = "Alarm", "WaitPeriod", "ExtensionPeriod"
REASONS = {
    BY_ALARM: "Actions suppressed by {}",
    BY_WAIT: "Actions wait for {}",
    BY_EXTENSION: "Actions wait after {}",
}

# MiniStack's record of an alarm, and its function that performs the actions of a change.
Alarm = dict[str, Any]
Perform = Callable[[Alarm, str, str, str], None]


@dataclass(slots=True)
class _Held:
    """What is held back of one alarm: by what, until when (epoch s), and the change whose actions wait."""

    by: str = ""
    until: float = 0.0
    old: str = ""
    new: str = ""
    reason: str = ""
    perform: Perform | None = None


class Suppression:
    """The held actions of all composite alarms.

    `state_of` returns the state of the alarm of a name or an ARN, None if there is none; `clock` is in epoch seconds.
    """

    def __init__(self, state_of: Callable[[str], str | None], clock: Callable[[], float]) -> None:
        self._state_of = state_of
        self._clock = clock
        self._held: dict[str, _Held] = {}

    def act(self, perform: Perform, alarm: Alarm, old: str, new: str, reason: str) -> None:
        """Perform the actions of a change of state, now or when they are no longer suppressed."""
        if not alarm.get(SUPPRESSOR):
            perform(alarm, old, new, reason)
            return
        held = self._held.setdefault(alarm["AlarmArn"], _Held())
        if held.perform is None:
            held.old = old
        held.new, held.reason, held.perform = new, reason, perform
        if not held.by:
            self._hold(alarm, held, BY_WAIT, float(alarm[WAIT_S]))
        self.update(alarm)

    def update(self, alarm: Alarm) -> None:
        """Look at the suppressor and the time; perform the actions that are no longer suppressed."""
        if not alarm.get(SUPPRESSOR):
            return
        held = self._held.setdefault(alarm["AlarmArn"], _Held())
        if self._state_of(alarm[SUPPRESSOR]) == ALARM:
            self._hold(alarm, held, BY_ALARM, 0.0)
        elif held.by == BY_ALARM:
            self._hold(alarm, held, BY_EXTENSION, float(alarm[EXTENSION_S]))
        elif held.by:
            self._tell(alarm, held)  # An update of the alarm has made a new record.
        if held.by in (BY_WAIT, BY_EXTENSION) and self._clock() >= held.until:
            self._release(alarm)

    def forget_others(self, arns: Iterable[str]) -> None:
        """Forget the alarms that no longer exist."""
        kept = set(arns)
        for arn in [each for each in self._held if each not in kept]:
            del self._held[arn]

    def _hold(self, alarm: Alarm, held: _Held, by: str, seconds: float) -> None:
        held.by, held.until = by, self._clock() + seconds
        self._tell(alarm, held)

    def _tell(self, alarm: Alarm, held: _Held) -> None:
        alarm[BY], alarm[REASON] = held.by, REASONS[held.by].format(alarm[SUPPRESSOR])

    def _release(self, alarm: Alarm) -> None:
        held = self._held.pop(alarm["AlarmArn"])
        alarm.pop(BY, None)
        alarm.pop(REASON, None)
        if held.perform is not None and held.new != held.old:
            held.perform(alarm, held.old, held.new, held.reason)
