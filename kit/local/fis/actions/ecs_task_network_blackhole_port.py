"""aws:ecs:task-network-blackhole-port: drop packets to a port, on their way into the task or out of it.

As with the `iptables` rule on AWS, only packets *to* the port are dropped; answers in flight still arrive.

Unlike AWS: links know no ports, but a task's hops have only two: in from its load balancer to the container port,
out to AWS on 443. Any other port, and UDP, has no traffic here, so the action fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from kit.local.ecs.tasks import Task
from kit.local.endpoints import ALB, AWS
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.task_links import add_rules, match_of
from kit.local.fis.errors import ConfigurationFailure
from kit.local.links import LinkRule, Match

HTTPS = 443
INGRESS = "ingress"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNetworkBlackholePort:
    """`traffic` is ingress or egress."""

    port: int
    traffic: str
    protocol: str = "tcp"

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(
            port=int(parameters["port"]),
            traffic=parameters["trafficType"],
            protocol=parameters.get("protocol", "tcp"),
        )

    async def start(self, context: ActionContext) -> None:
        if self.protocol != "tcp":
            raise ConfigurationFailure(f"protocol {self.protocol!r}: the local AWS has no traffic of that protocol")
        egress_ports = {HTTPS, urlsplit(context.services.endpoint).port or HTTPS}
        add_rules(context, "blackhole port", lambda task, name: [self._rule(task, name, egress_ports)])

    def _rule(self, task: Task, name: str, egress_ports: set[int]) -> LinkRule:
        if self.traffic == INGRESS:
            self._require(task, {target.port for target in task.targets}, "the load balancer's targets of")
            return LinkRule(name=name, src=Match(kinds=(ALB,)), dst=match_of(task), both_ways=False, blackhole=True)
        self._require(task, egress_ports, "AWS as reached by")
        return LinkRule(name=name, src=match_of(task), dst=Match(kinds=(AWS,)), both_ways=False, blackhole=True)

    def _require(self, task: Task, used: set[int], whose: str) -> None:
        ports = ", ".join(str(port) for port in sorted(used)) or "none"
        if self.port not in used:
            raise ConfigurationFailure(
                f"{self.traffic} port {self.port} has no traffic in the local AWS; ports of {whose} task {task.id}: "
                f"{ports}"
            )
        if self.traffic == INGRESS and len(used) > 1:
            raise ConfigurationFailure(
                f"ingress port {self.port} cannot be cut alone: task {task.id} is a target on the ports {ports}"
            )
