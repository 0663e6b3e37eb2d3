"""Run one step of a runbook: a function for each action, which gets resolved inputs and returns an Outcome."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kit.local.ssm import branch_choices, jsonpath
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
from kit.local.ssm.sleep_durations import DurationInvalid, parse_duration_s, until_timestamp_s

# The interval at which aws:waitForAwsResourceProperty polls.
POLL_S = 0.2
# A response with more characters as JSON is not kept as OutputPayload.
PAYLOAD_CHARS_MAX = 100_000
_OWN_INPUTS = frozenset({"Service", "Api", "PropertySelector", "DesiredValues"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A step's outputs, and the next step that a branch chose."""

    outputs: Mapping[str, Any] = field(default_factory=dict)
    next_step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """API calls, and a sleep that a cancellation interrupts."""

    call: Callable[[str, str, Mapping[str, Any]], Awaitable[Any]]
    sleep: Callable[[float], Awaitable[None]]


async def execute_aws_api(step: Step, inputs: Mapping[str, Any], context: StepContext) -> Outcome:
    """Call an API. As on AWS, an output that the response lacks is left out and is not a failure."""
    response = await _call(inputs, context)
    outputs = {}
    for output in step.outputs:
        try:
            outputs[output.name] = as_type(output.type, jsonpath.select(output.selector, response))
        except jsonpath.NothingSelected:
            continue
        except WrongType as error:
            raise StepInputInvalid(f"output {output.name}: {error}") from error
    payload = json.dumps(response, default=str)
    if len(payload) <= PAYLOAD_CHARS_MAX:
        outputs[PAYLOAD] = json.loads(payload)
    return Outcome(outputs=outputs)


async def sleep(step: Step, inputs: Mapping[str, Any], context: StepContext) -> Outcome:
    """Wait for a duration, or until a timestamp."""
    try:
        if "Duration" in inputs:
            seconds = parse_duration_s(str(inputs["Duration"]))
        else:
            seconds = until_timestamp_s(str(inputs["Timestamp"]), datetime.now(UTC))
    except DurationInvalid as error:
        raise StepInputInvalid(str(error)) from error
    await context.sleep(seconds)
    return Outcome()


async def wait_for_property(step: Step, inputs: Mapping[str, Any], context: StepContext) -> Outcome:
    """Poll until the property has a desired value. The runner enforces the step's time-out."""
    while (await _property(inputs, context)) not in _desired(inputs):
        await context.sleep(POLL_S)
    return Outcome()


async def assert_property(step: Step, inputs: Mapping[str, Any], context: StepContext) -> Outcome:
    """Fail unless the property has a desired value now."""
    found = await _property(inputs, context)
    if found not in _desired(inputs):
        raise StepFailed(f"{inputs['PropertySelector']} is {found!r}, not one of {_desired(inputs)}")
    return Outcome()


async def branch(step: Step, inputs: Mapping[str, Any], context: StepContext) -> Outcome:
    """Choose the next step."""
    try:
        return Outcome(next_step=branch_choices.choose_step(inputs))
    except (TypeError, ValueError) as error:
        raise StepInputInvalid(f"a choice compares a value that is not a number: {error}") from error


async def _call(inputs: Mapping[str, Any], context: StepContext) -> Any:
    arguments = {key: value for key, value in inputs.items() if key not in _OWN_INPUTS}
    return await context.call(str(inputs["Service"]), str(inputs["Api"]), arguments)


async def _property(inputs: Mapping[str, Any], context: StepContext) -> str | None:
    """Return the selected value as text, or None if the response has no such value."""
    response = await _call(inputs, context)
    try:
        return text_of(jsonpath.select(str(inputs["PropertySelector"]), response))
    except jsonpath.NothingSelected:
        return None


def _desired(inputs: Mapping[str, Any]) -> list[str]:
    return [text_of(value) for value in inputs["DesiredValues"]]


ACTIONS: Mapping[str, Callable[[Step, Mapping[str, Any], StepContext], Awaitable[Outcome]]] = {
    EXECUTE_AWS_API: execute_aws_api,
    SLEEP: sleep,
    WAIT_FOR_PROPERTY: wait_for_property,
    ASSERT_PROPERTY: assert_property,
    BRANCH: branch,
}
# The time-out of a step without timeoutSeconds; aws:sleep has none.
TIMEOUT_S: Mapping[str, float] = {WAIT_FOR_PROPERTY: 3_600.0, ASSERT_PROPERTY: 3_600.0}
