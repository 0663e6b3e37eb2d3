"""The actions that really act: one module each, named after the action's id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from kit.local.fis.actions import network_disrupt_connectivity
from kit.local.fis.actions.cloudwatch_assert_alarm_state import AssertAlarmState
from kit.local.fis.actions.context import Action, ActionContext
from kit.local.fis.actions.ecs_stop_task import StopTask
from kit.local.fis.actions.fis_wait import Wait
from kit.local.fis.actions.network_disrupt_connectivity import DisruptConnectivity

if TYPE_CHECKING:
    from kit.local.cloud import Cloud
    from kit.local.fis.journal import Entry

ACTIONS: Mapping[str, type[Action]] = {
    "aws:cloudwatch:assert-alarm-state": AssertAlarmState,
    "aws:ecs:stop-task": StopTask,
    "aws:fis:wait": Wait,
    "aws:network:disrupt-connectivity": DisruptConnectivity,
}

# Who undoes an entry of the journal. Must be safe to repeat, and to call in a fresh process.
UNDO: Mapping[str, Callable[[Cloud, Entry], Awaitable[None]]] = {
    network_disrupt_connectivity.UNDO_KIND: network_disrupt_connectivity.undo,
}

__all__ = ["ACTIONS", "UNDO", "Action", "ActionContext"]
