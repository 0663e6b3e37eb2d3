"""Represent a runbook, the content of an automation document (schema 0.3), and the order of its steps."""

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
# aws:executeAwsApi always has this output, the whole response.
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
    """One output of a step: the selector of its value in the response, and its type."""

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
        """The step that runs after a failure, if any."""
        return _target(self.on_failure)

    @property
    def cancel_step(self) -> str | None:
        """The step that runs after a cancellation, if any."""
        return _target(self.on_cancel)

    def branches(self) -> Iterator[str]:
        """Yield the steps that an aws:branch may choose."""
        if self.action == BRANCH:
            yield from (choice["NextStep"] for choice in self.inputs["Choices"])
            if "Default" in self.inputs:
                yield self.inputs["Default"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """One document's content; `raw` is the parsed document."""

    parameters: Mapping[str, Parameter]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    description: str
    raw: Mapping[str, Any]

    def step(self, name: str) -> Step:
        """Return the step of this name. The parser made sure that it exists."""
        return next(step for step in self.steps if step.name == name)

    def following(self, step: Step) -> str | None:
        """Return the step that runs after this one has succeeded, or None at the end."""
        if step.is_end:
            return None
        if step.next_step:
            return step.next_step
        index = self.steps.index(step) + 1
        return self.steps[index].name if index < len(self.steps) else None

    def repair_steps(self) -> frozenset[str]:
        """Return the steps that run after a cancellation, which put back what the automation changed."""
        waiting = [step.cancel_step for step in self.steps if step.cancel_step]
        found: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._successors(self.step(name))
        return frozenset(found)

    def services(self) -> frozenset[str]:
        """Return the services that the steps name literally."""
        named = {str(step.inputs["Service"]) for step in self.steps if step.action in CALLING}
        return frozenset(name for name in named if "{{" not in name)

    def _successors(self, step: Step) -> list[str]:
        after = self.following(step)
        return [*step.branches(), *([after] if after else []), *([step.failure_step] if step.failure_step else [])]


def _target(jump: str) -> str | None:
    return jump.removeprefix(JUMP) if jump.startswith(JUMP) else None
