"""Keep the events of one execution in the form that GetExecutionHistory returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kit.local.stepfunctions.errors import RUNTIME, StateFailed

EVENTS_MAX = 25_000
# Events whose details are not called after them.
_NO_DETAILS = frozenset(
    {"ParallelStateStarted", "ParallelStateSucceeded", "ParallelStateFailed", "ParallelStateAborted"}
    | {"MapStateSucceeded", "MapStateFailed", "MapStateAborted", "MapRunSucceeded", "MapRunAborted"}
    | {"TaskStateAborted", "WaitStateAborted", "PassStateAborted"}
)
# Events of these types end an execution, so that they are recorded even when it has reached the limit.
_LAST = ("ExecutionFailed", "ExecutionSucceeded", "ExecutionAborted", "ExecutionTimedOut")

Event = dict[str, Any]


class History:
    """The events, with ids from 1. `listener` gets each event as it is recorded."""

    def __init__(self, now: Callable[[], float], listener: Callable[[Event], None] | None = None) -> None:
        self.events: list[Event] = []
        self._now = now
        self._listener = listener

    def record(self, kind: str, previous: int, details: Mapping[str, Any] | None = None) -> int:
        """Append an event and return its id. Raises StateFailed when the execution has too many."""
        if len(self.events) >= EVENTS_MAX - 1 and kind not in _LAST:
            raise StateFailed(
                RUNTIME, f"The execution reached the maximum number of history events ({EVENTS_MAX}).", is_terminal=True
            )
        event: Event = {"timestamp": self._now(), "type": kind, "id": len(self.events) + 1, "previousEventId": previous}
        if details is not None and kind not in _NO_DETAILS:
            event[_key(kind)] = {name: item for name, item in details.items() if item is not None}
        self.events.append(event)
        if self._listener is not None:
            self._listener(event)
        return event["id"]


def _key(kind: str) -> str:
    if kind.endswith("StateEntered"):
        return "stateEnteredEventDetails"
    if kind.endswith("StateExited"):
        return "stateExitedEventDetails"
    return f"{kind[:1].lower()}{kind[1:]}EventDetails"


def payload(name: str, text: str) -> dict[str, Any]:
    """Return the members of an event that hold a payload."""
    return {name: text, f"{name}Details": {"truncated": False}}
