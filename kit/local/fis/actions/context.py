"""What an action gets to act with. Knows the cloud and the journal; no action, no experiment state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from kit.local.fis.collaborators import Collaborators
from kit.local.fis.journal import Entry, Journal
from kit.local.fis.resources import Resource


@dataclass(slots=True, kw_only=True)
class ActionContext:
    """One run of one action. `kept` is the experiment's own list: changes that outlive the action."""

    services: Collaborators
    journal: Journal
    experiment_id: str
    action_name: str
    targets: Mapping[str, Sequence[Resource]]
    changes: list[Entry] = field(default_factory=list)
    kept: list[Entry] = field(default_factory=list)

    def remember(self, kind: str, data: dict[str, Any], *, until_experiment_ends: bool = False) -> Entry:
        """Write down a change before making it; the engine undoes it when the action, or the experiment, ends."""
        entry = self.journal.remember(kind, data)
        (self.kept if until_experiment_ends else self.changes).append(entry)
        return entry

    def strike_out(self, entry: Entry) -> None:
        """A later action of the experiment has undone a kept change itself."""
        self.kept.remove(entry)
        self.journal.forget(entry)


class Action(Protocol):
    """One fault: its parameters as fields, and how it begins.

    `start` returns once the fault is in force; the engine holds it for its duration, if it has one, and then
    undoes what it remembered. It raises an ExperimentFailure when it cannot, and may be cancelled at any await.
    """

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        """From parameters that the template's validation accepted."""
        ...

    async def start(self, context: ActionContext) -> None:
        """Inject."""
        ...
