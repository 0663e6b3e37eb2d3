"""aws:cloudwatch:assert-alarm-state: fail unless every alarm is in one of the given states.

Unlike AWS: nothing, but that alarms are evaluated every second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kit.fis_rules.parameters import split_list
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.errors import ConfigurationFailure, ExperimentFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertAlarmState:
    """`states` are OK, ALARM, INSUFFICIENT_DATA."""

    alarms: tuple[str, ...]
    states: frozenset[str]

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(
            alarms=tuple(split_list(parameters["alarmArns"])),
            states=frozenset(split_list(parameters["alarmStates"])),
        )

    async def start(self, context: ActionContext) -> None:
        for arn in self.alarms:
            state = context.services.alarms.state_of(arn)
            if state is None:
                raise ConfigurationFailure(f"alarm {arn} does not exist")
            if state not in self.states:
                raise ExperimentFailure(f"alarm {arn} is {state}, not {' or '.join(sorted(self.states))}")
