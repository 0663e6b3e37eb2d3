"""aws:lambda:invocation-add-delay: delay the start of the function's code. The delay counts towards its time-out.

Unlike AWS: no extension layer is needed, only its environment variables; a fault begins and ends at once, not up to
a minute later, and invocations that still wait at its end go on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.lambda_faults import PERCENT, Effect, inject

DELAY_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationAddDelay:
    """AWS's defaults."""

    percent: int = PERCENT
    delay_ms: int = DELAY_MS

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(
            percent=int(parameters.get("invocationPercentage", PERCENT)),
            delay_ms=int(parameters.get("startupDelayMilliseconds", DELAY_MS)),
        )

    async def start(self, context: ActionContext) -> None:
        inject(context, self.percent, Effect(delay_s=self.delay_ms / 1000))
