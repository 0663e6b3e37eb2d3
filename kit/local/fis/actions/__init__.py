"""The actions that really act: one module each, named after the action's id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from kit.local.fis.actions import ecs_task_cpu_stress, network_disrupt_connectivity, task_links
from kit.local.fis.actions.cloudwatch_assert_alarm_state import AssertAlarmState
from kit.local.fis.actions.context import Action, ActionContext
from kit.local.fis.actions.ecs_stop_task import StopTask
from kit.local.fis.actions.ecs_task_cpu_stress import TaskCpuStress
from kit.local.fis.actions.ecs_task_kill_process import TaskKillProcess
from kit.local.fis.actions.ecs_task_network_blackhole_port import TaskNetworkBlackholePort
from kit.local.fis.actions.ecs_task_network_latency import TaskNetworkLatency
from kit.local.fis.actions.ecs_task_network_packet_loss import TaskNetworkPacketLoss
from kit.local.fis.actions.fis_wait import Wait
from kit.local.fis.actions.network_disrupt_connectivity import DisruptConnectivity

if TYPE_CHECKING:
    from kit.local.cloud import Cloud
    from kit.local.fis.journal import Entry

ACTIONS: Mapping[str, type[Action]] = {
    "aws:cloudwatch:assert-alarm-state": AssertAlarmState,
    "aws:ecs:stop-task": StopTask,
    "aws:ecs:task-cpu-stress": TaskCpuStress,
    "aws:ecs:task-kill-process": TaskKillProcess,
    "aws:ecs:task-network-blackhole-port": TaskNetworkBlackholePort,
    "aws:ecs:task-network-latency": TaskNetworkLatency,
    "aws:ecs:task-network-packet-loss": TaskNetworkPacketLoss,
    "aws:fis:wait": Wait,
    "aws:network:disrupt-connectivity": DisruptConnectivity,
}

# Who undoes an entry of the journal. Must be safe to repeat, and to call in a fresh process.
UNDO: Mapping[str, Callable[[Cloud, Entry], Awaitable[None]]] = {
    ecs_task_cpu_stress.UNDO_KIND: ecs_task_cpu_stress.undo,
    task_links.UNDO_KIND: task_links.undo,
    network_disrupt_connectivity.UNDO_KIND: network_disrupt_connectivity.undo,
}

__all__ = ["ACTIONS", "UNDO", "Action", "ActionContext"]
