"""aws:fis:wait: wait for a duration without injecting a fault.

Unlike AWS: nothing, but that seconds are accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kit.local.fis.actions.context import ActionContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Do nothing. The engine keeps every action running for its `duration`."""

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls()

    async def start(self, context: ActionContext) -> None:
        return None
