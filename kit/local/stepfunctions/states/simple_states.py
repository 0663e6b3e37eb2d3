"""Run the states that call nothing: Pass, Wait, Choice, Succeed and Fail."""

from __future__ import annotations

from typing import Any

from kit.local.stepfunctions.errors import NO_CHOICE_MATCHED, QueryFailed, StateFailed, evaluation_error, runtime_error
from kit.local.stepfunctions.language import choices
from kit.local.stepfunctions.language.json_values import as_integer, dump
from kit.local.stepfunctions.language.jsonpath import PathInvalid, PathNotFound
from kit.local.stepfunctions.language.scopes import Scope
from kit.local.stepfunctions.language.state_machine import State
from kit.local.stepfunctions.states import data_flow
from kit.local.stepfunctions.states.branch import Branch
from kit.local.stepfunctions.states.data_flow import Outcome, scope_of

# AWS refuses waits of more than a year.
WAIT_S_MAX = 31_622_400
_TEXT = ("string",)


async def pass_state(branch: Branch, state: State, data: Any) -> Outcome:
    """Return the input, or what the state makes of it."""
    raw = scope_of(branch, data)
    if state.is_jsonata:
        return data_flow.finish_jsonata(state.fields, branch, raw, data, state.fields.get("Next"))
    result = data_flow.arguments(state, data_flow.effective_input(state, raw))
    return data_flow.finish(state, branch, raw, state.fields.get("Result", result))


async def succeed_state(branch: Branch, state: State, data: Any) -> Outcome:
    """End the sequence."""
    return _without_result(branch, state, scope_of(branch, data))


async def wait_state(branch: Branch, state: State, data: Any) -> Outcome:
    """Wait for some seconds or until a time."""
    raw = scope_of(branch, data)
    scope = data_flow.effective_input(state, raw)
    await branch.clock.sleep(_wait_s(branch, state, scope))
    return _without_result(branch, state, raw)


async def fail_state(branch: Branch, state: State, data: Any) -> Outcome:
    """End the sequence with an error."""
    scope = scope_of(branch, data)
    raise StateFailed(_text(state, scope, "Error"), _text(state, scope, "Cause"))


async def choice_state(branch: Branch, state: State, data: Any) -> Outcome:
    """Go on with the first rule that holds."""
    raw = scope_of(branch, data)
    if state.is_jsonata:
        return _choose_jsonata(branch, state, raw)
    scope = data_flow.effective_input(state, raw)
    for rule in state.fields["Choices"]:
        if choices.holds(rule, scope):
            return _chosen(branch, state, scope, rule.get("Assign"), rule["Next"])
    return _chosen(branch, state, scope, state.fields.get("Assign"), _default(state))


def _choose_jsonata(branch: Branch, state: State, scope: Scope) -> Outcome:
    for index, rule in enumerate(state.fields["Choices"]):
        if scope.evaluate_as(rule["Condition"], f"Choices[{index}]/Condition", ("boolean",)):
            return data_flow.finish_jsonata(rule, branch, scope, scope.input, rule["Next"])
    return data_flow.finish_jsonata(state.fields, branch, scope, scope.input, _default(state))


def _chosen(branch: Branch, state: State, scope: Scope, assign: Any, following: str) -> Outcome:
    assigned = data_flow.assign(assign, scope, is_jsonata=False)
    return data_flow.outcome(branch, data_flow.project(state.fields, scope), following, assigned, state.name)


def _default(state: State) -> str:
    if "Default" not in state.fields:
        raise QueryFailed(
            NO_CHOICE_MATCHED, "Failed to transition out of the state. The state does not point to a next state."
        )
    return state.fields["Default"]


def _without_result(branch: Branch, state: State, raw: Scope) -> Outcome:
    following = state.fields.get("Next")
    if state.is_jsonata:
        return data_flow.finish_jsonata(state.fields, branch, raw, raw.input, following)
    scope = data_flow.effective_input(state, raw)
    assigned = data_flow.assign(state.fields.get("Assign"), scope, is_jsonata=False)
    return data_flow.outcome(branch, data_flow.project(state.fields, scope), following, assigned, state.name)


def _text(state: State, scope: Scope, name: str) -> str | None:
    """Return Error or Cause of a Fail state."""
    if f"{name}Path" in state.fields:
        value = scope.value(state.fields[f"{name}Path"], f"{name}Path")
        if not isinstance(value, str):
            raise runtime_error(f"The {name}Path field must be a string, but was {dump(value)}")
        return value
    if name not in state.fields:
        return None
    return scope.evaluate_as(state.fields[name], name, _TEXT) if state.is_jsonata else state.fields[name]


def _wait_s(branch: Branch, state: State, scope: Scope) -> float:
    fields = state.fields
    if "SecondsPath" in fields:
        value = _waited_for(fields["SecondsPath"], scope, "SecondsPath")
        seconds = None if isinstance(value, str) else as_integer(value)
        if seconds is None or not 0 <= seconds <= 99_999_999:
            raise runtime_error(
                f"The SecondsPath parameter cannot be parsed as a long value: {fields['SecondsPath']} == {dump(value)}"
            )
        return float(seconds)
    if "Seconds" in fields:
        return float(data_flow.number(state, scope, "Seconds") or 0)
    return max(0.0, _until(state, scope) - branch.clock.now())


def _waited_for(path: str, scope: Scope, name: str) -> Any:
    try:
        return scope.read(path)
    except (PathNotFound, PathInvalid) as error:
        raise runtime_error(f"The {name} parameter does not reference an input value: {path}") from error


def _until(state: State, scope: Scope) -> float:
    fields = state.fields
    if "TimestampPath" in fields:
        value = _waited_for(fields["TimestampPath"], scope, "TimestampPath")
        at = choices.timestamp(value)
        if at is None:
            shown = value if isinstance(value, str) else dump(value)
            raise runtime_error(
                "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format "
                f"string: {fields['TimestampPath']} == {shown}"
            )
        return at.timestamp()
    value = scope.evaluate_as(fields["Timestamp"], "Timestamp", _TEXT) if state.is_jsonata else fields["Timestamp"]
    at = choices.timestamp(value)
    if at is None:
        raise evaluation_error(
            f"The JSONata expression '{str(fields['Timestamp']).strip('{}% ')}' specified for the field 'Timestamp' "
            f"returned a value that is not a valid ISO-8601 extended offset date-time format string: {value}",
            location="Timestamp",
        )
    return at.timestamp()


ACTIONS = {
    "Pass": pass_state,
    "Succeed": succeed_state,
    "Wait": wait_state,
    "Fail": fail_state,
    "Choice": choice_state,
}
