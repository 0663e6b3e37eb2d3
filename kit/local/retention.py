"""Bound what MiniStack keeps of the past, so that a local AWS that stands for days does not grow.

Each run creates and deletes a stack, and sends some hundred events. AWS shows deleted stacks for 90 days.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from kit.local.patching import Patches, require

# Deleted stacks of one account and Region that can still be described by their ids. One of PaperBroker takes 0.6 MB.
DELETED_STACKS_MAX = 5
# Events that were delivered already. Nothing reads them; MiniStack keeps them for ever.
EVENTS_MAX = 1_000


def install(patches: Patches) -> None:
    """Drop the oldest deleted stacks at each request to CloudFormation, and the oldest events at each event."""
    from ministack import app
    from ministack.services import cloudformation, eventbridge

    require(cloudformation, "_stacks", "_stack_events")
    require(eventbridge, "_events_log")

    async def handle(serve: Any, *arguments: Any) -> Any:
        forget_deleted_stacks(cloudformation._stacks._data, cloudformation._stack_events._data)
        return await serve(*arguments)

    def events() -> deque[Any]:
        return eventbridge._events_log.setdefault("entries", deque(maxlen=EVENTS_MAX))

    patches.wrap_entry(app, "SERVICE_HANDLERS", "cloudformation", handle)
    patches.replace(eventbridge, "_events_log_list", events)


def forget_deleted_stacks(stacks: dict[Any, Any], events: dict[Any, Any]) -> None:
    """Remove all deleted stacks but the newest of each account and Region, with their events."""
    deleted: dict[Any, list[Any]] = {}
    for key, stack in stacks.items():
        if stack.get("StackStatus") == "DELETE_COMPLETE":
            deleted.setdefault(key[:2], []).append(key)
    for scope, keys in deleted.items():
        for key in keys[:-DELETED_STACKS_MAX]:
            stack = stacks.pop(key)
            events.pop((*scope, stack.get("StackId")), None)
