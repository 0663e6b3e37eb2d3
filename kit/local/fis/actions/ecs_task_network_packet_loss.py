"""aws:ecs:task-network-packet-loss: lose a share of the packets that a task sends to the sources.

A lost packet is sent again, as TCP would, so loss shows as delay. When all of every flow is lost nothing ever
arrives: that is a blackhole.

Unlike AWS: whole legs of a hop are lost, not packets, and of a leg at most six times in a row (12.6 s) below 100
percent; `sources` as for latency.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.task_links import EVERYONE, FLOWS_PCT, impair

LOSS_PCT = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNetworkPacketLoss:
    """AWS's defaults. `sources` is still the parameter's text: what it means depends on the task's VPC."""

    loss_pct: int = LOSS_PCT
    flows_pct: int = FLOWS_PCT
    sources: str = EVERYONE

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(
            loss_pct=int(parameters.get("lossPercent", LOSS_PCT)),
            flows_pct=int(parameters.get("flowsPercent", FLOWS_PCT)),
            sources=parameters.get("sources", EVERYONE),
        )

    async def start(self, context: ActionContext) -> None:
        is_total = self.loss_pct == self.flows_pct == 100
        effect = {"loss_pct": self.loss_pct, "flows_pct": self.flows_pct, "blackhole": is_total}
        impair(context, "packet loss", self.sources, **effect)
