"""A runbook: the content of an automation document (schema 0.3), as values. Pure.

Owns the shape of parameters and steps and how steps follow each other; reading one from text is `reading.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ABORT = "Abort"
CONTINUE = "Continue"
JUMP = "step:"

EXECUTE_AWS_API = "aws:executeAwsApi"
SLEEP = "aws:sleep"
WAIT_FOR_PROPERTY = "aws:waitForAwsResourceProperty"
ASSERT_PROPERTY = "aws:assertAwsResourceProperty"
BRANCH = "aws:branch"
ACTIONS = frozenset({EXECUTE_AWS_API, SLEEP, WAIT_FOR_PROPERTY, ASSERT_PROPERTY, BRANCH})
# Actions that call an API, and therefore name a service.
CALLING = frozenset({EXECUTE_AWS_API, WAIT_FOR_PROPERTY, ASSERT_PROPERTY})
# aws:executeAwsApi always has this output: its whole answer.
PAYLOAD = "OutputPayload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter; `default` is None where a value is required."""

    name: str
    type: str
    default: Any = None
    description: str = ""
    allowed_values: tuple[Any, ...] = ()
    allowed_pattern: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output of a step: where in the answer it stands, and as what it is passed on."""

    name: str
    selector: str
    type: str = "String"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; `on_failure` and `on_cancel` are Abort, Continue (failure only), or `step:NAME`."""

    name: str
    action: str
    inputs: Mapping[str, Any]
    outputs: tuple[Output, ...] = ()
    on_failure: str = ABORT
    on_cancel: str = ABORT
    next_step: str = ""
    is_end: bool = False
    is_critical: bool = True
    attempts_max: int = 1
    timeout_s: float | None = None

    @property
    def failure_step(self) -> str | None:
        """Where a failure leads, if it leads to a step."""
        return _target(self.on_failure)

    @property
    def cancel_step(self) -> str | None:
        """Where a cancellation leads, if it leads to a step."""
        return _target(self.on_cancel)

    def branches(self) -> Iterator[str]:
        """The steps that an aws:branch may choose."""
        if self.action == BRANCH:
            yield from (choice["NextStep"] for choice in self.inputs["Choices"])
            if "Default" in self.inputs:
                yield self.inputs["Default"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """One document's content; `raw` is what it was read from."""

    parameters: Mapping[str, Parameter]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    description: str
    raw: Mapping[str, Any]

    def step(self, name: str) -> Step:
        """The step of this name; it is there, reading made sure."""
        return next(step for step in self.steps if step.name == name)

    def following(self, step: Step) -> str | None:
        """What comes after it when it went well; None at the end."""
        if step.is_end:
            return None
        if step.next_step:
            return step.next_step
        place = self.steps.index(step) + 1
        return self.steps[place].name if place < len(self.steps) else None

    def repairs(self) -> frozenset[str]:
        """The steps that a cancellation leads to: where the automation puts back what it changed."""
        waiting = [step.cancel_step for step in self.steps if step.cancel_step]
        found: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._successors(self.step(name))
        return frozenset(found)

    def services(self) -> frozenset[str]:
        """The services that the steps name outright."""
        named = {str(step.inputs["Service"]) for step in self.steps if step.action in CALLING}
        return frozenset(name for name in named if "{{" not in name)

    def _successors(self, step: Step) -> list[str]:
        after = self.following(step)
        return [*step.branches(), *([after] if after else []), *([step.failure_step] if step.failure_step else [])]


def _target(where: str) -> str | None:
    return where.removeprefix(JUMP) if where.startswith(JUMP) else None
