"""Hold one run of a distributed Map: its items, its child executions and its tolerance of failures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from kit.local.stepfunctions.language.state_machine import State

RUNNING, SUCCEEDED, FAILED, ABORTED = "RUNNING", "SUCCEEDED", "FAILED", "ABORTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """How many failed items a Map tolerates: a count, a percentage, or both; none of them tolerates none."""

    count: int | None = None
    percentage: float | None = None

    def exceeded(self, failed: int, total: int) -> bool:
        """Return whether so many failures of so many items are too many."""
        limits: list[float] = []
        if self.count is not None:
            limits.append(self.count)
        if self.percentage is not None:
            limits.append(self.percentage * total / 100)
        return failed > (min(limits) if limits else 0)


class Child(Protocol):
    """A child execution."""

    status: str
    output: Any
    error: str | None
    cause: str | None

    def report(self) -> dict[str, Any]:
        """Return what DescribeExecution shows, with names in PascalCase."""
        ...


@dataclass(slots=True, kw_only=True)
class MapRun:
    """One attempt of a distributed Map state."""

    arn: str
    execution_arn: str
    machine_arn: str
    label: str
    state: State
    at_once: int
    thresholds: Thresholds
    started_at: float
    status: str = RUNNING
    ended_at: float | None = None
    items: int = 0
    inputs: list[Any] = field(default_factory=list)
    # What has ended, by the index of its input.
    children: dict[int, Child] = field(default_factory=dict)
    running: int = 0
    results_written: int = 0

    def failed_items(self) -> int:
        """Return how many items belong to children that failed."""
        return sum(self.weight(at) for at, child in self.children.items() if child.status != SUCCEEDED)

    def weight(self, index: int) -> int:
        """Return how many items an input has."""
        return len(self.inputs[index]["Items"]) if "ItemBatcher" in self.state.fields else 1
