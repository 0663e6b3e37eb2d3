"""What the steps of a runbook do: one function an action. Each gets resolved inputs and returns what came of it.

Knows APIs and time only through what it is given; not how steps follow each other.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kit.local.ssm import branch_choices, jsonpath
from kit.local.ssm.durations import DurationInvalid, parse_duration_s, until_timestamp_s
from kit.local.ssm.errors import StepFailed, StepInputInvalid
from kit.local.ssm.parameters import WrongType, as_type
from kit.local.ssm.references import text_of
from kit.local.ssm.runbook import (
    ASSERT_PROPERTY,
    BRANCH,
    EXECUTE_AWS_API,
    PAYLOAD,
    SLEEP,
    WAIT_FOR_PROPERTY,
    Step,
)

# How often aws:waitForAwsResourceProperty looks.
POLL_S = 0.2
# An answer that is longer as JSON is not kept as OutputPayload.
PAYLOAD_CHARS_MAX = 100_000
_OWN_INPUTS = frozenset({"Service", "Api", "PropertySelector", "DesiredValues"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a step gave, and where a branch leads."""

    outputs: Mapping[str, Any] = field(default_factory=dict)
    next_step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What a step acts with: calls of APIs, and a sleep that a cancellation interrupts."""

    call: Callable[[str, str, Mapping[str, Any]], Awaitable[Any]]
    sleep: Callable[[float], Awaitable[None]]


async def execute_aws_api(step: Step, inputs: Mapping[str, Any], hands: Hands) -> Outcome:
    """Call, and pick the outputs from the answer; as on AWS, what the answer lacks is no output, and no failure."""
    answer = await _call(inputs, hands)
    outputs = {}
    for output in step.outputs:
        try:
            outputs[output.name] = as_type(output.type, jsonpath.select(output.selector, answer))
        except jsonpath.NothingSelected:
            continue
        except WrongType as error:
            raise StepInputInvalid(f"output {output.name}: {error}") from error
    payload = json.dumps(answer, default=str)
    if len(payload) <= PAYLOAD_CHARS_MAX:
        outputs[PAYLOAD] = json.loads(payload)
    return Outcome(outputs=outputs)


async def sleep(step: Step, inputs: Mapping[str, Any], hands: Hands) -> Outcome:
    """Wait."""
    try:
        if "Duration" in inputs:
            seconds = parse_duration_s(str(inputs["Duration"]))
        else:
            seconds = until_timestamp_s(str(inputs["Timestamp"]), datetime.now(UTC))
    except DurationInvalid as error:
        raise StepInputInvalid(str(error)) from error
    await hands.sleep(seconds)
    return Outcome()


async def wait_for_property(step: Step, inputs: Mapping[str, Any], hands: Hands) -> Outcome:
    """Look again and again; the step's time-out is the bound."""
    while (await _property(inputs, hands)) not in _desired(inputs):
        await hands.sleep(POLL_S)
    return Outcome()


async def assert_property(step: Step, inputs: Mapping[str, Any], hands: Hands) -> Outcome:
    """Look once."""
    found = await _property(inputs, hands)
    if found not in _desired(inputs):
        raise StepFailed(f"{inputs['PropertySelector']} is {found!r}, not one of {_desired(inputs)}")
    return Outcome()


async def branch(step: Step, inputs: Mapping[str, Any], hands: Hands) -> Outcome:
    """Choose."""
    try:
        return Outcome(next_step=branch_choices.chosen(inputs))
    except (TypeError, ValueError) as error:
        raise StepInputInvalid(f"a choice compares what is no number: {error}") from error


async def _call(inputs: Mapping[str, Any], hands: Hands) -> Any:
    arguments = {key: value for key, value in inputs.items() if key not in _OWN_INPUTS}
    return await hands.call(str(inputs["Service"]), str(inputs["Api"]), arguments)


async def _property(inputs: Mapping[str, Any], hands: Hands) -> str | None:
    """The selected value as text; None while the answer has no such value."""
    answer = await _call(inputs, hands)
    try:
        return text_of(jsonpath.select(str(inputs["PropertySelector"]), answer))
    except jsonpath.NothingSelected:
        return None


def _desired(inputs: Mapping[str, Any]) -> list[str]:
    return [text_of(value) for value in inputs["DesiredValues"]]


ACTIONS: Mapping[str, Callable[[Step, Mapping[str, Any], Hands], Awaitable[Outcome]]] = {
    EXECUTE_AWS_API: execute_aws_api,
    SLEEP: sleep,
    WAIT_FOR_PROPERTY: wait_for_property,
    ASSERT_PROPERTY: assert_property,
    BRANCH: branch,
}
# What a step has without timeoutSeconds; a sleep is bounded by its own length.
TIMEOUT_S: Mapping[str, float] = {WAIT_FOR_PROPERTY: 3_600.0, ASSERT_PROPERTY: 3_600.0}
