"""The interface of an action, and the context in which it acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from kit.local.fis.collaborators import Collaborators
from kit.local.fis.journal import Entry, Journal
from kit.local.fis.resources import Resource


@dataclass(slots=True, kw_only=True)
class ActionContext:
    """The run of one action. `kept` belongs to the experiment: changes that outlive the action."""

    services: Collaborators
    journal: Journal
    experiment_id: str
    action_name: str
    targets: Mapping[str, Sequence[Resource]]
    changes: list[Entry] = field(default_factory=list)
    kept: list[Entry] = field(default_factory=list)

    def remember(self, kind: str, data: dict[str, Any], *, until_experiment_ends: bool = False) -> Entry:
        """Record a change before it is made. The engine undoes the change when the action or the experiment ends."""
        entry = self.journal.remember(kind, data)
        (self.kept if until_experiment_ends else self.changes).append(entry)
        return entry

    def strike_out(self, entry: Entry) -> None:
        """Forget a kept change that a later action of the experiment has undone."""
        self.kept.remove(entry)
        self.journal.forget(entry)


class Action(Protocol):
    """One fault with its parameters as fields.

    `start` returns once the fault is in force; the engine then holds it for its duration, if it has one, and undoes
    the remembered changes. `start` raises ExperimentFailure when the fault is impossible, and may be cancelled at any
    await.
    """

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        """Build the action from parameters that the validation of templates accepted."""
        ...

    async def start(self, context: ActionContext) -> None:
        """Inject the fault."""
        ...
