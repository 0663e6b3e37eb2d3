"""aws:ecs:task-network-latency: delay the packets that a task sends to the sources.

As netem on the task's interface: an exchange pays the delay once, a new connection once more.

Unlike AWS: a flow is one leg of one hop (links know no connections), so `flowsPercent` draws for each; `sources`
may be ALL, DYNAMODB, S3, a zone, a CIDR of whole subnets or the host name of an AWS service.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.task_links import EVERYONE, FLOWS_PCT, impair

DELAY_MS = 200
JITTER_MS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNetworkLatency:
    """AWS's defaults. `sources` is still the parameter's text: what it means depends on the task's VPC."""

    delay_ms: int = DELAY_MS
    jitter_ms: int = JITTER_MS
    flows_pct: int = FLOWS_PCT
    sources: str = EVERYONE

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(
            delay_ms=int(parameters.get("delayMilliseconds", DELAY_MS)),
            jitter_ms=int(parameters.get("jitterMilliseconds", JITTER_MS)),
            flows_pct=int(parameters.get("flowsPercent", FLOWS_PCT)),
            sources=parameters.get("sources", EVERYONE),
        )

    async def start(self, context: ActionContext) -> None:
        effect = {"delay_ms": self.delay_ms, "jitter_ms": self.jitter_ms, "flows_pct": self.flows_pct}
        impair(context, "latency", self.sources, **effect)
