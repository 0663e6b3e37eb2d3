"""Hold one run of a distributed Map: its items, its child executions and its tolerance of failures."""

from __future__ import annotations

from collections import Counter
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
    # What has ended, by the index of its input, until the run itself has ended.
    children: dict[int, Child] = field(default_factory=dict)
    executions: int = 0
    running: int = 0
    executions_by_status: Counter[str] = field(default_factory=Counter)
    items_by_status: Counter[str] = field(default_factory=Counter)
    results_written: int = 0

    def begin(self, inputs: list[Any], items: int) -> None:
        """Take the inputs of the child executions, and how many items they have together."""
        self.inputs, self.executions, self.items = inputs, len(inputs), items

    def add(self, index: int, child: Child) -> None:
        """Count a child that has ended."""
        self.children[index] = child
        self.executions_by_status[child.status] += 1
        is_batch = "ItemBatcher" in self.state.fields
        self.items_by_status[child.status] += len(self.inputs[index]["Items"]) if is_batch else 1

    def is_failed(self) -> bool:
        """Return whether more items have failed than may."""
        failed = self.items_by_status.total() - self.items_by_status[SUCCEEDED]
        return self.thresholds.exceeded(failed, self.items)

    def end(self, status: str, now: float) -> None:
        """End the run; only its numbers are kept."""
        self.status, self.ended_at = status, now
        self.children.clear()
        self.inputs.clear()
