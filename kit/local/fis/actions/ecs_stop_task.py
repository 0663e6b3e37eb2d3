"""aws:ecs:stop-task: call StopTask on all targets at the same time. Nothing to undo: the service replaces what it lost.

Unlike AWS: a replacement is up in about a second, not in 20 to 60.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kit.local.fis.actions.context import ActionContext


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTask:
    """Stop all targets at the same time, as the loss of an Availability Zone does."""

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls()

    async def start(self, context: ActionContext) -> None:
        reason = f"Task stopped by AWS FIS experiment {context.experiment_id}"
        stopping = (context.services.ecs.stop_task(task.arn, reason) for task in context.targets["Tasks"])
        await asyncio.gather(*stopping)
