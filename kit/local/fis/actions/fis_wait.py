"""aws:fis:wait: nothing happens, for a duration.

Unlike AWS: nothing, but that seconds are accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kit.local.fis.actions.context import ActionContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The engine holds every action for its `duration`; there is nothing more to do."""

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls()

    async def start(self, context: ActionContext) -> None:
        return None
