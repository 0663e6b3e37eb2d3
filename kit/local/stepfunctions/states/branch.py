"""Hold what one sequence of states has: its variables, its place in the history and its context object."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kit.local.stepfunctions.clocks import Clock
from kit.local.stepfunctions.errors import DATA_LIMIT_EXCEEDED, StateFailed
from kit.local.stepfunctions.language.json_values import PAYLOAD_BYTES_MAX, dump, size_bytes
from kit.local.stepfunctions.language.state_machine import RETRIED_TYPES, State
from kit.local.stepfunctions.states.history import History

Variables = ChainMap[str, Any]
# Events that say that a state was left because a sibling branch failed.
ABORTED_TYPES = frozenset({"Task", "Wait", "Pass", "Parallel", "Map"})


def iso_time(at: float) -> str:
    """Return a time as the context object shows it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Branch:
    """An execution's own sequence of states, a branch of a Parallel or an iteration of a Map."""

    def __init__(
        self, *, history: History, clock: Clock, context: Mapping[str, Any], variables: Variables | None = None,
        last_event: int = 0,
    ) -> None:  # fmt: skip
        self.history = history
        self.clock = clock
        self.variables: Variables = ChainMap({}) if variables is None else variables
        self.last_event = last_event
        self.state: State | None = None
        self.entered_event = 0
        self.retry_count = 0
        self.token: str | None = None
        self._entered_at = 0.0
        self._context = context

    def record(self, kind: str, details: Mapping[str, Any] | None = None) -> int:
        """Record an event after the last one of this branch."""
        self.last_event = self.history.record(kind, self.last_event, details)
        return self.last_event

    def enter(self, state: State) -> None:
        """Begin a state."""
        self.state, self.retry_count, self.token = state, 0, None
        self._entered_at = self.clock.now()

    def leave(self) -> None:
        """End the present state."""
        self.state = None

    def abort(self) -> None:
        """Record that the present state was aborted, if it has an event for that."""
        if self.state is not None and self.state.type in ABORTED_TYPES:
            self.record(f"{self.state.type}StateAborted")
        self.leave()

    def context(self) -> dict[str, Any]:
        """Return the context object of the present state."""
        shown = dict(self._context)
        if self.state is not None:
            own: dict[str, Any] = {"Name": self.state.name, "EnteredTime": iso_time(self._entered_at)}
            if self.state.type in RETRIED_TYPES:
                own["RetryCount"] = self.retry_count
            shown["State"] = own
        if self.token is not None:
            shown["Task"] = {"Token": self.token}
        return shown

    def child(self) -> Branch:
        """Return a branch inside of the present state, with variables of its own."""
        return Branch(
            history=self.history, clock=self.clock, context=self._context, variables=self.variables.new_child(),
            last_event=self.last_event,
        )  # fmt: skip


def limited(value: Any, name: str) -> str:
    """Return a value as JSON. Raises StateFailed if it is larger than a payload may be."""
    text = dump(value)
    if size_bytes(text) > PAYLOAD_BYTES_MAX:
        raise StateFailed(DATA_LIMIT_EXCEEDED, too_large(name), is_terminal=True)
    return text


def too_large(name: str) -> str:
    """Return the cause of a result that is too large."""
    return f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service limit."
