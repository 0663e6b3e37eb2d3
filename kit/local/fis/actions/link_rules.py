"""Add link rules as one change, and remove them: shared by the network actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kit.local.fis.actions.context import ActionContext
from kit.local.fis.collaborators import Collaborators
from kit.local.fis.journal import Entry
from kit.local.links import LinkRule


def impose(context: ActionContext, kind: str, data: dict[str, Any], rules: Iterable[LinkRule]) -> None:
    """Add the rules as one change of this kind, which is undone at the end of the action."""
    entry = context.remember(kind, data)
    for rule in rules:
        entry.handles.append(context.services.links.add(rule))


async def undo(services: Collaborators, entry: Entry) -> None:
    """Remove the rules. Rules end with the process, so there are none after a restart."""
    for rule_id in entry.handles:
        services.links.remove(rule_id)
