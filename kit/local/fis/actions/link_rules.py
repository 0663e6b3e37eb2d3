"""Link rules as a change: written down, put in force, and taken back. What every network action shares.

Knows the journal and the links; no target and no parameter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kit.local.fis.actions.context import ActionContext
from kit.local.fis.collaborators import Collaborators
from kit.local.fis.journal import Entry
from kit.local.links import LinkRule


def impose(context: ActionContext, kind: str, data: dict[str, Any], rules: Iterable[LinkRule]) -> None:
    """Put the rules in force as one change of this kind; its action's end takes them back."""
    entry = context.remember(kind, data)
    for rule in rules:
        entry.handles.append(context.services.links.add(rule))


async def undo(services: Collaborators, entry: Entry) -> None:
    """Rules die with the process, so a restart finds none."""
    for rule_id in entry.handles:
        services.links.remove(rule_id)
