"""The actions that the local AWS performs: one module each, named after the id of the action."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from kit.local.fis.actions import (
    arc_start_zonal_autoshift,
    dynamodb_global_table_pause_replication,
    ecs_task_cpu_stress,
    ecs_task_kill_process,
    lambda_faults,
    link_rules,
    network_disrupt_connectivity,
    network_disrupt_vpc_endpoint,
    network_route_table_disrupt_cross_region_connectivity,
    ssm_start_automation_execution,
    task_links,
)
from kit.local.fis.actions.arc_start_zonal_autoshift import StartZonalAutoshift
from kit.local.fis.actions.cloudwatch_assert_alarm_state import AssertAlarmState
from kit.local.fis.actions.context import Action, ActionContext
from kit.local.fis.actions.dynamodb_global_table_pause_replication import PauseReplication
from kit.local.fis.actions.ecs_stop_task import StopTask
from kit.local.fis.actions.ecs_task_cpu_stress import TaskCpuStress
from kit.local.fis.actions.ecs_task_kill_process import TaskKillProcess
from kit.local.fis.actions.ecs_task_network_blackhole_port import TaskNetworkBlackholePort
from kit.local.fis.actions.ecs_task_network_latency import TaskNetworkLatency
from kit.local.fis.actions.ecs_task_network_packet_loss import TaskNetworkPacketLoss
from kit.local.fis.actions.fis_wait import Wait
from kit.local.fis.actions.lambda_invocation_add_delay import InvocationAddDelay
from kit.local.fis.actions.lambda_invocation_error import InvocationError
from kit.local.fis.actions.lambda_invocation_http_integration_response import InvocationHttpIntegrationResponse
from kit.local.fis.actions.network_disrupt_connectivity import DisruptConnectivity
from kit.local.fis.actions.network_disrupt_vpc_endpoint import DisruptVpcEndpoint
from kit.local.fis.actions.network_route_table_disrupt_cross_region_connectivity import (
    RouteTableDisruptCrossRegionConnectivity,
)
from kit.local.fis.actions.ssm_start_automation_execution import StartAutomationExecution
from kit.local.fis.collaborators import Collaborators
from kit.local.fis.journal import Entry

ACTIONS: Mapping[str, type[Action]] = {
    "aws:arc:start-zonal-autoshift": StartZonalAutoshift,
    "aws:cloudwatch:assert-alarm-state": AssertAlarmState,
    "aws:dynamodb:global-table-pause-replication": PauseReplication,
    "aws:ecs:stop-task": StopTask,
    "aws:ecs:task-cpu-stress": TaskCpuStress,
    "aws:ecs:task-kill-process": TaskKillProcess,
    "aws:ecs:task-network-blackhole-port": TaskNetworkBlackholePort,
    "aws:ecs:task-network-latency": TaskNetworkLatency,
    "aws:ecs:task-network-packet-loss": TaskNetworkPacketLoss,
    "aws:fis:wait": Wait,
    "aws:lambda:invocation-add-delay": InvocationAddDelay,
    "aws:lambda:invocation-error": InvocationError,
    "aws:lambda:invocation-http-integration-response": InvocationHttpIntegrationResponse,
    "aws:network:disrupt-connectivity": DisruptConnectivity,
    "aws:network:disrupt-vpc-endpoint": DisruptVpcEndpoint,
    "aws:network:route-table-disrupt-cross-region-connectivity": RouteTableDisruptCrossRegionConnectivity,
    "aws:ssm:start-automation-execution": StartAutomationExecution,
}

# Undo functions by the kind of the journal entry. They must be safe to repeat, also in a new process.
UNDO: Mapping[str, Callable[[Collaborators, Entry], Awaitable[None]]] = {
    arc_start_zonal_autoshift.UNDO_KIND: arc_start_zonal_autoshift.undo,
    dynamodb_global_table_pause_replication.UNDO_KIND: dynamodb_global_table_pause_replication.undo,
    ecs_task_cpu_stress.UNDO_KIND: ecs_task_cpu_stress.undo,
    ecs_task_kill_process.UNDO_KIND: ecs_task_kill_process.undo,
    lambda_faults.UNDO_KIND: lambda_faults.undo,
    network_disrupt_connectivity.UNDO_KIND: link_rules.undo,
    network_disrupt_vpc_endpoint.UNDO_KIND: link_rules.undo,
    network_route_table_disrupt_cross_region_connectivity.UNDO_KIND: link_rules.undo,
    ssm_start_automation_execution.UNDO_KIND: ssm_start_automation_execution.undo,
    task_links.UNDO_KIND: link_rules.undo,
}

__all__ = ["ACTIONS", "UNDO", "ActionContext"]
