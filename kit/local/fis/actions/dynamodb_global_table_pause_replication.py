"""aws:dynamodb:global-table-pause-replication: a replica is cut off from the others, both ways, and catches up.

Writes wait where they were made, and are delivered when the last pause ends.

Unlike AWS: replication stops at once, where AWS denies DynamoDB's own role by a statement in the table's resource
policy and it may go on for some minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kit.local.dynamodb.replication import NotReplicated
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.collaborators import Collaborators
from kit.local.fis.errors import InvalidTarget
from kit.local.fis.journal import Entry

UNDO_KIND = "dynamodb-pause-replication"


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseReplication:
    """The action has no parameters of its own."""

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls()

    async def start(self, context: ActionContext) -> None:
        owner = f"{context.experiment_id}/{context.action_name}"
        for table in context.targets["Tables"]:
            context.remember(UNDO_KIND, {"table": table.arn, "owner": owner})
            try:
                context.services.dynamodb.pause_replication(table.arn, owner)
            except NotReplicated as error:
                raise InvalidTarget(str(error)) from error


async def undo(services: Collaborators, entry: Entry) -> None:
    """Resume replication. Pauses end with the process, so there are none after a restart."""
    services.dynamodb.resume_replication(entry.data["table"], entry.data["owner"])
